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
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pyarrow as pa
from deltalake import WriterProperties, write_deltalake

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from ut_clips_dagster.gallery.index import Index
from ut_clips_dagster.gallery.queries import Question, search
from ut_clips_dagster.storage import compaction, media_table, metadata_table, session_table, transcripts_table

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
    dice = random.Random(2)
    sessions = sorted(str(uuid.UUID(int=dice.getrandbits(128))) for _ in range(clips // CLIPS_PER_SESSION))
    studies = [str(uuid.UUID(int=dice.getrandbits(128))) for _ in range(STUDIES)]
    keys = [
        (session, str(uuid.UUID(int=dice.getrandbits(128)))) for session in sessions for _ in range(CLIPS_PER_SESSION)
    ]
    key = {"session_id": [session for session, _ in keys], "clip_uuid": [clip for _, clip in keys]}
    number = [n % CLIPS_PER_SESSION for n in range(len(keys))]
    at = [START_US + (int(session[:8], 16) << 14) % SPAN_US for session, _ in keys]
    study = [studies[int(session[:8], 16) % STUDIES] for session, _ in keys]
    paths = [f"clips/{of}/{session}/{clip}.mp4" for of, (session, clip) in zip(study, keys, strict=True)]
    rows: dict[str, object] = {
        **key,
        "study_uuid": study,
        "clip_name": [f"Checkout: moment {n} of {session[:4]}" for n, (session, _) in zip(number, keys, strict=True)],
        "clip_description": ["Looks for the total, then hesitates." if n % 2 else None for n in number],
        "time_start_ms": [n * 90_000 for n in number],
        "time_end_ms": [n * 90_000 + 30_000 for n in number],
        "has_audio": [n != 0 for n in number],
        "status": ["STORED" if dice.random() > 0.001 else "ERROR" for _ in keys],
        "listed": [True] * len(keys),
        "storage_path": paths,
        "size_bytes": [3_000_000] * len(keys),
        "crc32c": ["AAAAAA=="] * len(keys),
        "content_type": ["video/mp4"] * len(keys),
        "session_started_at": at,
        "session_finished_at": [start + 1_200_000_000 for start in at],
    }
    _write(root, metadata_table.MetadataTable, rows)
    posters = [path.replace(".mp4", ".jpg") for path in paths]
    facts = {"duration_s": [30.0] * len(keys), "width": [1280] * len(keys), "height": [720] * len(keys)}
    _write(root, media_table.MediaTable, {**key, "storage_path": paths, "poster_path": posters, **facts})
    _write(root, transcripts_table.TranscriptsTable, {**key, "cues": _cues(len(keys))})


def _cues(clips: int) -> pa.Array:
    dice = random.Random(3)
    said = pa.array(sentences(50_000)).take(pa.array([dice.randrange(50_000) for _ in range(clips * CUES)]))
    starts = pa.array([n % CUES * 3000 for n in range(clips * CUES)])
    voices = pa.array(["Participant"] * clips * CUES)
    cues = pa.StructArray.from_arrays([starts, starts, voices, said], fields=list(transcripts_table.CUE))
    return pa.ListArray.from_arrays(pa.array(range(0, clips * CUES + 1, CUES), pa.int32()), cues)


def _write(root: Path, table: type[session_table.SessionTable], columns: Mapping[str, object]) -> None:
    size = len(columns["session_id"])  # type: ignore[arg-type]
    arrays = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(size, f.type) for f in table.schema]
    write_deltalake(
        str(root / table.name),
        pa.Table.from_arrays(arrays, schema=table.schema),
        target_file_size=compaction.COMPACT_TO_BYTES,
        writer_properties=WriterProperties(compression="ZSTD"),
    )


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


def computed(ask: Callable[[], object]) -> float:
    """Milliseconds of this process alone: what a busy machine does not lengthen as much."""
    start = time.process_time()
    ask()
    return (time.process_time() - start) * 1000


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
    began = time.process_time()
    built = timed(lambda: index.refresh(tables, lambda _done, _total: None)) / 1000
    processor = time.process_time() - began
    path = index.path
    assert path is not None
    with index.reading() as db:
        summary = json.loads(db.execute("select content from summary").fetchone()[0])
    print(f"{summary['clips']:,} clips, {summary['sessions']:,} sessions, {summary['transcripts']:,} transcripts")
    size = path.stat().st_size / 2**20
    print(f"built in {built:.1f} s ({processor:.1f} s of a core), {size:,.0f} MiB")
    print(f"peak memory: {before:.0f} MiB before, {peak_mib():.0f} MiB after")
    print(f"looked for changes, none: {timed(lambda: index.refresh(tables, lambda _done, _total: None)):.0f} ms")
    print(f"{'question':<36} {'clips':>8} {'median ms':>10} {'worst':>7} {'of a core':>10}")
    for name, question in questions(summary["studies"][0]["study"]):
        with index.reading() as db:
            found = search(db, question)
        times, cores = [], []
        for _ in range(ROUNDS):
            with index.reading() as db:  # a new connection each time, as the application has it
                times.append(timed(lambda db=db, question=question: search(db, question)))
            with index.reading() as db:
                cores.append(computed(lambda db=db, question=question: search(db, question)))
        total = f"{found.total:,}{'+' if found.more_than_counted else ''}"
        median, core = statistics.median(times), statistics.median(cores)
        print(f"{name:<36} {total:>8} {median:>10.1f} {max(times):>7.1f} {core:>10.1f}")


if __name__ == "__main__":
    main()
