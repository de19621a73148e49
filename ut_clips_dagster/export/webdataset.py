"""An export as WebDataset: tar files of a set size, in which each clip is an mp4, a json and a vtt of one name."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ut_clips_dagster.export.card import Facts, webdataset_card
from ut_clips_dagster.export.croissant import CROISSANT, webdataset_croissant
from ut_clips_dagster.export.shards import Sample, Shard, plan
from ut_clips_dagster.gallery.captions import captions
from ut_clips_dagster.gallery.queries import Cue
from ut_clips_dagster.storage import clips_view
from ut_clips_dagster.storage.columns import comment_of

if TYPE_CHECKING:
    from ut_clips_dagster.export.copying import Carrier
    from ut_clips_dagster.export.selection import Clip
    from ut_clips_dagster.export.work import Work

CARD = "README.md"
HIDDEN_CROISSANT = f".{CROISSANT}"
"""`datasets` takes every file that it sees in the directory for a shard."""
FILES = (CARD, HIDDEN_CROISSANT)
_ELSEWHERE = frozenset({"storage_path", "poster_path", "cues"})
"""Paths of files that are not here, and cues, which the vtt holds."""
FIELDS = tuple(field for field in clips_view.SCHEMA if field.name not in _ELSEWHERE)
_UNKNOWN: dict[pa.DataType, Any] = {pa.int64(): -1, pa.float64(): -1.0, pa.bool_(): -1}
"""Loaders take the types of all samples from the first five: what is not known has the type of what is."""


def write_webdataset(work: Work) -> None:
    """Shards that are still right stay; the other clips are packed into new ones."""
    while True:
        samples = [_sample(clip, row) for clip, row in work.selection.rows(work.selection.clips)]
        wanted = plan(samples, _shards_of(work), work.order.shard_bytes)
        kept = {shard.path for shard in wanted if shard.kept}
        work.retire(kept | set(FILES), before=FILES)
        _write(work, [shard for shard in wanted if not shard.kept])
        work.carrier.progress(*_totals([shard for shard in wanted if shard.kept]))
        gone = work.gone()
        if not gone:
            break
        work.selection.without(gone)  # taken out of the archive meanwhile: their shards are packed anew
    facts = Facts.of(work.selection, work.order)
    shards = {path: _sha256(work, path) for path in work.target.whole() if path not in FILES}
    columns = [(field.name, _type_of(field), comment_of(field) or "") for field in FIELDS]
    work.target.write(CARD, webdataset_card(facts, columns))
    work.target.write(HIDDEN_CROISSANT, webdataset_croissant(facts, shards))


def sample_json(row: Mapping[str, Any]) -> bytes:
    """A clip's row: the same keys, of the same types, in each sample."""
    return json.dumps({field.name: _told(field, row[field.name]) for field in FIELDS}, ensure_ascii=False).encode(
        "utf-8", "replace"
    )


def sample_vtt(row: Mapping[str, Any]) -> bytes:
    """What is said in a clip."""
    cues = row["cues"] or ()
    return captions(Cue(**cue) for cue in cues).encode("utf-8", "replace")


def _told(field: pa.Field, value: Any) -> Any:
    if value is None:
        return _UNKNOWN.get(field.type, "")
    if isinstance(value, datetime):
        return value.isoformat()
    return int(value) if isinstance(value, bool) else value


def _type_of(field: pa.Field) -> str:
    return {pa.int64(): "whole number", pa.float64(): "number", pa.bool_(): "1, 0 or -1"}.get(field.type, "text")


def _sample(clip: Clip, row: Mapping[str, Any]) -> Sample:
    held = hashlib.sha256(b"\0".join((clip.crc32c.encode(), sample_json(row), sample_vtt(row)))).hexdigest()[:16]
    return Sample(clip, f"{clip.session_id}_{clip.clip_uuid}", held)


def _shards_of(work: Work) -> dict[str, tuple[tuple[str, str], ...]]:
    """The shards that are there as they were written, and what each holds."""
    whole = work.target.whole()
    return {
        path: each.members for path, each in whole.items() if each.members and work.target.holds(path, each.content)
    }


def _write(work: Work, shards: Sequence[Shard]) -> None:
    work.target.claim([shard.path for shard in shards])
    problems: dict[Clip, str] = {}

    def write(shard: Shard) -> None:
        part, members = work.target.part(), []
        with tarfile.open(part, "w", format=tarfile.PAX_FORMAT, bufsize=1024 * 1024) as tar:
            for sample, row in _rows(work, shard):
                problem = _add(work.carrier, tar, sample, row)
                if problem:
                    problems[sample.clip] = problem
                else:
                    members.append((sample.key, sample.content))
                work.carrier.progress(1, 0)
        if members:
            work.target.place(part, shard.path, _content(members), tuple(members))
        else:
            part.unlink()

    work.carrier.each(write, shards)
    work.copied.update(sample.clip for shard in shards for sample in shard.samples)
    work.leave_out(problems)


def _rows(work: Work, shard: Shard) -> Iterator[tuple[Sample, Mapping[str, Any]]]:
    rows = work.selection.rows([sample.clip for sample in shard.samples])
    return ((sample, row) for sample, (_, row) in zip(shard.samples, rows, strict=True))


def _add(carrier: Carrier, tar: tarfile.TarFile, sample: Sample, row: Mapping[str, Any]) -> str | None:
    """Put a sample into a shard; one whose clip is not as recorded is taken back.

    The clip goes past `tar.addfile`, which would want to know its bytes before they are compared.
    """
    assert tar.fileobj is not None  # noqa: S101 - it is open
    begun = tar.offset
    tar.fileobj.write(_entry(f"{sample.key}.mp4", sample.clip.size_bytes).tobuf(tarfile.PAX_FORMAT))
    problem = carrier.carry(sample.clip, tar.fileobj)  # type: ignore[arg-type]
    if problem:
        tar.fileobj.seek(begun)
        tar.fileobj.truncate()  # type: ignore[attr-defined]
        return problem
    tar.fileobj.write(bytes(-sample.clip.size_bytes % tarfile.BLOCKSIZE))
    tar.offset = tar.fileobj.tell()
    for ending, content in (("json", sample_json(row)), ("vtt", sample_vtt(row))):
        tar.addfile(_entry(f"{sample.key}.{ending}", len(content)), io.BytesIO(content))
    return None


def _entry(name: str, size_bytes: int) -> tarfile.TarInfo:
    """Without owner and time: the same clips make the same bytes."""
    entry = tarfile.TarInfo(name)
    entry.size = size_bytes
    return entry


def _content(members: Sequence[tuple[str, str]]) -> str:
    return hashlib.sha256(repr(members).encode()).hexdigest()[:16]


def _totals(shards: Sequence[Shard]) -> tuple[int, int]:
    samples = [sample for shard in shards for sample in shard.samples]
    return len(samples), sum(sample.clip.size_bytes for sample in samples)


def _sha256(work: Work, path: str) -> str:
    digest = hashlib.sha256()
    with (work.target.root / path).open("rb") as file:
        while chunk := file.read(1024 * 1024):
            digest.update(chunk)
    return digest.hexdigest()
