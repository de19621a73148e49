"""The README of an export: what it is, where it comes from, and how it is loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version

import pyarrow as pa

from ut_clips_dagster.export.report import Order
from ut_clips_dagster.export.selection import Selection
from ut_clips_dagster.plain_text import visible
from ut_clips_dagster.storage.columns import comment_of

CLIPS, SHARDS = "clips/**/*.mp4", "clips-*.tar"
_STUDIES_SHOWN = 50
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True)
class Facts:
    """What is told of an export."""

    clips: int
    sessions: int
    size_bytes: int
    studies: tuple[tuple[str, int], ...]
    where: str
    at: datetime
    made_by: str

    @classmethod
    def of(cls, selection: Selection, order: Order) -> Facts:
        """What there is to tell of an export of these clips."""
        clips = selection.clips
        return cls(
            len(clips),
            len({clip.session_id for clip in clips}),
            sum(clip.size_bytes for clip in clips),
            tuple(Counter(clip.path.split("/")[1] for clip in clips).most_common()),
            order.where.strip(),
            datetime.now(timezone.utc).replace(microsecond=0),
            f"ut_clips_dagster {version('ut_clips_dagster')}",
        )


def videofolder_card(facts: Facts, schema: pa.Schema) -> bytes:
    """The dataset card of a VideoFolder."""
    use = [
        "```python",
        "from datasets import Video, load_dataset",
        "",
        'clips = load_dataset("videofolder", data_dir="this/directory", split="train")',
        'clips = clips.cast_column("video", Video(decode=False))  # a path; decoding needs torchcodec',
        "```",
        "",
        (
            "`datasets` calls the only split of a dataset `train`; nothing was split here. `clips/<study>/<session>/` "
            "holds the files, with a poster (`.jpg`) beside a clip that has one; `metadata.parquet` has a row for each:"
        ),
        "",
    ]
    columns = [f"| `{field.name}` | {field.type} | {comment_of(field) or ''} |" for field in schema]
    return _card(facts, ["metadata.parquet", CLIPS], [*use, "| Column | Type | |", "|---|---|---|", *columns])


def webdataset_card(facts: Facts, columns: Iterable[tuple[str, str, str]]) -> bytes:
    """The dataset card of a WebDataset."""
    use = [
        "```python",
        "import glob",
        "import webdataset",
        "",
        'shards = sorted(glob.glob("this/directory/clips-*.tar"))',
        "clips = webdataset.WebDataset(shards, shardshuffle=False).decode()",
        "```",
        "",
        (
            'or `datasets.load_dataset("webdataset", data_dir="this/directory")`. A sample is `mp4`, `json` and `vtt` '
            "(what is said, with times from the clip's start; only its header where nothing is known). The JSON has "
            "the same keys in each sample and no null: unknown text is empty, an unknown number is -1; yes, no and "
            "unknown are 1, 0 and -1:"
        ),
        "",
    ]
    rows = [f"| `{name}` | {kind} | {comment} |" for name, kind, comment in columns]
    return _card(facts, [SHARDS], [*use, "| Key | Type | |", "|---|---|---|", *rows])


def _card(facts: Facts, data_files: list[str], use: list[str]) -> bytes:
    size = next((name for most, name in _SIZES if facts.clips < most), "1M<n<10M")
    shown = facts.studies[:_STUDIES_SHOWN]
    studies = [f"| {study} | {clips:,} |" for study, clips in shown]
    if len(facts.studies) > len(shown):
        studies.append(f"| {len(facts.studies) - len(shown)} more | |")
    head = ["---", "pretty_name: UserTesting clips", f"size_categories: ['{size}']", "configs:"]
    head += ["- config_name: default", "  data_files:", "  - split: train", "    path:"]
    head += [f"    - '{path}'" for path in data_files] + ["---", "", "# UserTesting clips", ""]
    made = [
        f"{facts.clips:,} clips of {facts.sessions:,} sessions, {facts.size_bytes:,} bytes.",
        "",
        *use,
        "",
        "## Where it comes from",
        "",
        (
            "Researchers cut these clips from recorded UserTesting sessions; they were archived by the Results API, "
            f"and exported on {facts.at:%Y-%m-%d at %H:%M} UTC by {facts.made_by}. Each clip's bytes were compared "
            "with the checksum taken when it was archived (`crc32c`). The selection:"
        ),
        "",
        *(f"    {line}" for line in visible(facts.where or "all stored clips").splitlines()),
        "",
        "| Study | Clips |",
        "|---|---|",
        *studies,
        "",
        (
            "The clips show and quote people. What they agreed to when they were recorded holds for this copy, too: a "
            "session that is taken out of the archive must be taken out here by exporting again into this directory."
        ),
        "",
    ]
    return "\n".join(head + made).encode()
