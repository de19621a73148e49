"""The gallery's index over a large archive: build time, size, memory, and the times of questions.

`python -m benchmarks.gallery [--clips N] [--keep DIRECTORY]`; a minute or two.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
from deltalake import WriterProperties, write_deltalake

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ut_clips_dagster.gallery.index import Index
from ut_clips_dagster.gallery.queries import Question, search
from ut_clips_dagster.storage import media_table, metadata_table, session_table, transcripts_table

CLIPS_PER_SESSION = 5
CUES = 10
WORDS_PER_CUE = 8
STUDIES = 40
START_US = 1_700_000_000_000_000
SPAN_US = 2 * 365 * 86_400 * 1_000_000
COMMON = ("the", "and", "i", "page", "checkout", "hesitates")
ROUNDS = 15


def vocabulary(dice: random.Random) -> list[str]:
    """Words by falling frequency; the first are those that people say most."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    made = {"".join(dice.choices(letters, range(26, 0, -1), k=dice.randint(3, 10))) for _ in range(30_000)}
    return [*COMMON, "to", "it", "you", "that", "is", "so", "this", "button", "here", *sorted(made, key=hash)]


def sentences(number: int) -> list[str]:
    """As Zipf has it: the most frequent words are in nearly every clip."""
    dice = random.Random(1)
    words = vocabulary(dice)
    weights = [1 / (rank + 2.7) for rank in range(len(words))]
    return [" ".join(dice.choices(words, weights, k=WORDS_PER_CUE)) for _ in range(number)]


def write_tables(root: Path, clips: int) -> None:
    """The three tables as the archive compacts them: files of a megabyte, sorted by session."""
    said = sentences(50_000)
    dice = random.Random(2)
    sessions = sorted(str(uuid.UUID(int=dice.getrandbits(128))) for _ in range(clips // CLIPS_PER_SESSION))
    studies = [str(uuid.UUID(int=dice.getrandbits(128))) for _ in range(STUDIES)]
    per_batch = 2000
    pieces: dict[str, list[pa.RecordBatch]] = {"clip_metadata": [], "clip_media": [], "clip_transcripts": []}
    for first in range(0, len(sessions), per_batch):
        rows = [
            _clip(dice, s, n, studies) for s in sessions[first : first + per_batch] for n in range(CLIPS_PER_SESSION)
        ]
        pieces["clip_metadata"].append(pa.RecordBatch.from_pylist(rows, metadata_table.SCHEMA))
        pieces["clip_media"].append(pa.RecordBatch.from_pylist([*map(_media, rows)], media_table.SCHEMA))
        transcripts = [_transcript(row, dice.choices(said, k=CUES)) for row in rows]
        pieces["clip_transcripts"].append(pa.RecordBatch.from_pylist(transcripts, transcripts_table.SCHEMA))
    for name, batches in pieces.items():
        write_deltalake(
            str(root / name),
            pa.Table.from_batches(batches),
            target_file_size=session_table.COMPACT_TO_BYTES,
            writer_properties=WriterProperties(compression="ZSTD"),
        )


def _clip(dice: random.Random, session_id: str, number: int, studies: list[str]) -> dict[str, object]:
    at = START_US + (uuid.UUID(session_id).int >> 64) % SPAN_US
    clip_uuid = str(uuid.UUID(int=dice.getrandbits(128)))
    study = studies[uuid.UUID(session_id).int % len(studies)]
    return {
        "session_id": session_id,
        "study_uuid": study,
        "clip_uuid": clip_uuid,
        "clip_name": f"Checkout: moment {number} of {session_id[:4]}",
        "clip_description": "Looks for the total, then hesitates." if number % 2 else None,
        "time_start_ms": number * 90_000,
        "time_end_ms": number * 90_000 + 30_000,
        "has_audio": number != 0,
        "has_camera": False,
        "status": "STORED" if dice.random() > 0.001 else "ERROR",
        "listed": True,
        "storage_path": f"clips/{study}/{session_id}/{clip_uuid}.mp4",
        "size_bytes": 3_000_000,
        "crc32c": "AAAAAA==",
        "content_type": "video/mp4",
        "first_listed_at": at,
        "listed_at": at,
        "session_started_at": at,
        "session_finished_at": at + 1_200_000_000,
    }


def _media(row: dict[str, object]) -> dict[str, object]:
    return {
        "session_id": row["session_id"],
        "clip_uuid": row["clip_uuid"],
        "duration_s": 30.0,
        "width": 1280,
        "height": 720,
        "has_audio_track": row["has_audio"],
        "poster_path": str(row["storage_path"]).replace(".mp4", ".jpg"),
    }


def _transcript(row: dict[str, object], said: list[str]) -> dict[str, object]:
    cues = [
        {"start_ms": n * 3000, "end_ms": n * 3000 + 2900, "voice": "Participant", "text": t} for n, t in enumerate(said)
    ]
    text = "\n".join(said)
    return {"session_id": row["session_id"], "clip_uuid": row["clip_uuid"], "text": text, "cues": cues, "words": 80}


def questions(study: str) -> Iterator[tuple[str, Question]]:
    """What people ask, from the most common words to the rarest filters."""
    for text in ("the", "the and", "i", "t", "checkout", "hesit", "the and checkout hesitates", "th an ch he"):
        yield f"“{text}”", Question(text=text)
    yield "nothing: the newest", Question()
    yield "“the”, one study of forty", Question(text="the", study=study)
    yield "“the”, not generated (1 in 1,000)", Question(text="the", status="ERROR")
    yield "“the”, without sound", Question(text="the", sound="no")
    yield (
        "“the”, one day two years ago",
        Question(text="the", since_ms=START_US // 1000 + 86_400_000, until_ms=START_US // 1000 + 2 * 86_400_000),
    )
    yield "“zzzz” (nowhere)", Question(text="zzzz")


def timed(ask: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    ask()
    return (time.perf_counter() - start) * 1000


def peak_mib() -> float:
    """Of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=300_000)
    parser.add_argument("--keep", type=Path, help="where the tables are kept for another run")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        root = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if not (root / "clip_transcripts").exists():
            import multiprocessing  # its memory is not the index's

            writer = multiprocessing.get_context("spawn").Process(target=write_tables, args=(root, arguments.clips))
            writer.start()
            writer.join()
        cache = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        measure(root, cache)


def measure(root: Path, cache: Path) -> None:
    """Build, then ask."""
    tables = {
        "clips": metadata_table.MetadataTable(str(root)),
        "media": media_table.MediaTable(str(root)),
        "transcripts": transcripts_table.TranscriptsTable(str(root)),
    }
    index = Index(cache, str(root))
    before = peak_mib()
    built = timed(lambda: index.refresh(tables, lambda _done, _total: None)) / 1000
    path = index.path
    assert path is not None
    with index.reading() as db:
        summary = json.loads(db.execute("select content from summary").fetchone()[0])
    print(f"{summary['clips']:,} clips, {summary['sessions']:,} sessions, {summary['transcripts']:,} transcripts")
    print(
        f"built in {built:.1f} s; {path.stat().st_size / 2**20:,.0f} MiB; memory {before:.0f} -> {peak_mib():.0f} MiB"
    )
    print(f"looked for changes, none: {timed(lambda: index.refresh(tables, lambda _done, _total: None)):.0f} ms")
    print(f"{'question':<36} {'clips':>8} {'median ms':>10} {'worst':>7}")
    for name, question in questions(summary["studies"][0]["study"]):
        with index.reading() as db:
            found = search(db, question)
        times = []
        for _ in range(ROUNDS):
            with index.reading() as db:  # a new connection each time, as the application has it
                times.append(timed(lambda db=db, question=question: search(db, question)))
        total = f"{found.total:,}{'+' if found.more_than_counted else ''}"
        print(f"{name:<36} {total:>8} {statistics.median(times):>10.1f} {max(times):>7.1f}")


if __name__ == "__main__":
    main()
