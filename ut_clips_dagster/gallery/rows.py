"""Rows of the archive's Delta tables as the index keeps them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from ut_clips_dagster.storage.columns import TIMESTAMP, checked

if TYPE_CHECKING:
    import pyarrow.dataset as ds

BATCH_ROWS = 2048
_to_json = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True)
class Source:
    """One of the index's tables, and how its rows are made from those of the Delta table."""

    name: str
    reads: tuple[str, ...]
    keeps: tuple[str, ...]
    """Columns of the index beside session_id, clip_uuid, file and digest."""
    values: Callable[..., tuple[Any, ...]]
    """Makes them of what is read, in its order."""


class Kept(NamedTuple):
    """A row to be kept; equal digests mean equal values."""

    session_id: str
    clip_uuid: str
    digest: bytes
    values: tuple[Any, ...]


def kept_rows(source: Source, fragment: ds.Fragment, schema: pa.Schema) -> Iterator[list[Kept]]:
    """The rows of one data file, batch by batch; rows that name no session or no clip are left out.

    Raises:
        pa.ArrowException: the file is damaged.
        OSError: it cannot be read.
    """
    columns = ["session_id", "clip_uuid", *source.reads]
    batches = fragment.to_batches(
        schema=schema, columns=columns, batch_size=BATCH_ROWS, batch_readahead=1, fragment_readahead=1
    )
    for batch in batches:
        rows = zip(*map(_values, checked(batch).columns), strict=True)
        yield [
            _kept(session_id, clip_uuid, source.values(*values))
            for session_id, clip_uuid, *values in rows
            if session_id and clip_uuid
        ]


def _kept(session_id: str, clip_uuid: str, values: tuple[Any, ...]) -> Kept:
    digest = blake2b(repr(values).encode("utf-8", "surrogatepass"), digest_size=12).digest()
    return Kept(session_id, clip_uuid, digest, values)


def _values(array: pa.Array) -> Iterable[Any]:
    """Times as microseconds and cues as tuples: making objects of them takes longer than all the rest."""
    if pa.types.is_list(array.type):
        return _cues(array)
    plain: list[Any] = (array.cast(pa.int64()) if array.type == TIMESTAMP else array).to_pylist()
    return plain


def _cues(array: pa.ListArray) -> Iterator[list[tuple[Any, ...]]]:
    flat = array.flatten()
    fields = dict(zip((field.name for field in flat.type), flat.flatten(), strict=True))
    cues = zip(*(fields[name].to_pylist() for name in ("start_ms", "end_ms", "voice", "text")), strict=True)
    return ([*islice(cues, length or 0)] for length in array.value_lengths().to_pylist())


def _clip(study_uuid: str | None, name: str | None, description: str | None, *others: Any) -> tuple[Any, ...]:
    started, finished, first_listed, *as_it_is = others
    at = started or finished or first_listed or 0
    return (study_uuid, name, description, at // 1000, _ms(started), _ms(finished), *as_it_is)


def _ms(microseconds: int | None) -> int | None:
    return None if microseconds is None else microseconds // 1000


def _media(*as_it_is: Any) -> tuple[Any, ...]:
    return as_it_is


def _transcript(cues: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The cues' times and voices apart from their texts, which are one line each."""
    cues = [cue for cue in cues if cue[3]]
    times = _to_json([(start or 0, end or 0, voice) for start, end, voice, _ in cues])
    return times, "\n".join([text.replace("\n", " ") for *_, text in cues])


_AS_IT_IS = (
    "time_start_ms",
    "time_end_ms",
    "has_audio",
    "has_camera",
    "status",
    "error",
    "listed",
    "storage_path",
    "size_bytes",
    "crc32c",
    "content_type",
)
CLIPS = Source(
    "clips",
    (
        "study_uuid",
        "clip_name",
        "clip_description",
        "session_started_at",
        "session_finished_at",
        "first_listed_at",
        *_AS_IT_IS,
    ),
    ("study_uuid", "name", "description", "at_ms", "started_ms", "finished_ms", *_AS_IT_IS),
    _clip,
)
MEDIA = Source(
    "media",
    ("storage_path", "duration_s", "width", "height", "has_audio_track", "poster_path", "problem"),
    ("storage_path", "duration_s", "width", "height", "has_audio_track", "poster_path", "problem"),
    _media,
)
TRANSCRIPTS = Source("transcripts", ("cues",), ("times", "lines"), _transcript)
SOURCES = (CLIPS, MEDIA, TRANSCRIPTS)
