"""Croissant: a description of an export in JSON-LD, as search engines for data sets and `mlcroissant` read it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from ut_clips_dagster.export.card import CLIPS, Facts
from ut_clips_dagster.storage.columns import comment_of

CROISSANT = "croissant.json"
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_TYPES = {
    pa.string(): "sc:Text",
    pa.int64(): "sc:Integer",
    pa.float64(): "sc:Float",
    pa.bool_(): "sc:Boolean",
}


def videofolder_croissant(facts: Facts, schema: pa.Schema, table: str, sha256: str) -> bytes:
    """Of a VideoFolder: its table by its columns, and its files."""
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"clips/{field.name}",
            "name": field.name,
            "description": comment_of(field) or field.name,
            "dataType": _TYPES.get(field.type, "sc:Date"),
            "source": {"fileObject": {"@id": table}, "extract": {"column": field.name}},
        }
        for field in schema
        if not pa.types.is_nested(field.type)
    ]
    records = {
        "@type": "cr:RecordSet",
        "@id": "clips",
        "name": "clips",
        "description": "One record per clip.",
        "key": {"@id": "clips/file_name"},
        "field": fields,
    }
    return _dataset(facts, [file_object(table, "application/x-parquet", sha256), _clips()], [records])


def webdataset_croissant(facts: Facts, shards: Mapping[str, str]) -> bytes:
    """Of a WebDataset: its shards, each with its checksum."""
    files = [file_object(path, "application/x-tar", sha256) for path, sha256 in sorted(shards.items())]
    return _dataset(facts, files, [])


def page_croissant(facts: Facts, data: str, sha256: str) -> bytes:
    """Of a page: the script that holds its data, and its clips."""
    return _dataset(facts, [file_object(data, "text/javascript", sha256), _clips()], [])


def file_object(path: str, kind: str, sha256: str) -> dict[str, Any]:
    """One file beside the description."""
    return {
        "@type": "cr:FileObject",
        "@id": path,
        "name": path,
        "contentUrl": path,
        "encodingFormat": kind,
        "sha256": sha256,
    }


def _clips() -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": "clip-files",
        "name": "clip-files",
        "description": "The clips; each one's crc32c is in its record.",
        "encodingFormat": "video/mp4",
        "includes": CLIPS,
    }


def _dataset(facts: Facts, distribution: Sequence[Any], record_sets: Sequence[Any]) -> bytes:
    described = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": "usertesting-clips",
        "description": f"{facts.clips:,} clips that researchers cut from {facts.sessions:,} UserTesting sessions.",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "dateCreated": facts.at.isoformat(),
        "datePublished": facts.at.isoformat(),
        "creator": {"@type": "sc:Organization", "name": facts.made_by},
        "distribution": distribution,
        "recordSet": record_sets,
    }
    return json.dumps(described, indent=1).encode() + b"\n"
