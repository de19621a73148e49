"""An export as Hugging Face's VideoFolder: clips as files, `metadata.parquet` with a row for each, a dataset card."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from ut_clips_dagster.export.card import Facts, videofolder_card
from ut_clips_dagster.export.copying import Copier
from ut_clips_dagster.export.croissant import CROISSANT, videofolder_croissant
from ut_clips_dagster.storage import clips_view
from ut_clips_dagster.storage.columns import column

if TYPE_CHECKING:
    from ut_clips_dagster.export.work import Work

METADATA, CARD = "metadata.parquet", "README.md"
FILES = (METADATA, CARD, CROISSANT)
FILE_NAME = column("file_name", pa.string(), "path of the clip's file, from this file's directory")
"""The loader makes a video of every column whose name ends so: no other may."""
SCHEMA = pa.schema([FILE_NAME, *(field for field in clips_view.SCHEMA if field.name != "storage_path")])


def write_videofolder(work: Work) -> None:
    """Clips first; the table that names them when all are there."""
    clips = work.selection.clips
    wanted = {path for clip in clips for path in (clip.path, clip.poster_path) if path}
    work.retire(wanted | set(FILES), before=FILES)
    copier = Copier(work.carrier, work.target, link=work.order.link)
    copier.copy(clips)
    work.settle(copier)
    work.target.claim([METADATA])
    part = work.target.part()
    with pq.ParquetWriter(part, SCHEMA, compression="zstd") as writer:
        for some, rows in work.selection.batches(work.selection.clips):
            posters = [None if clip in copier.without_poster else clip.poster_path for clip in some]
            ours = {"file_name": [clip.path for clip in some], "poster_path": posters}
            columns = [pa.array(ours[f.name], f.type) if f.name in ours else rows[f.name] for f in SCHEMA]
            writer.write_table(pa.Table.from_arrays(columns, schema=SCHEMA))
    digest = hashlib.sha256(part.read_bytes()).hexdigest()
    work.target.place(part, METADATA, "")
    facts = Facts.of(work.selection, work.order)
    work.target.write(CARD, videofolder_card(facts, SCHEMA))
    work.target.write(CROISSANT, videofolder_croissant(facts, SCHEMA, METADATA, digest))
