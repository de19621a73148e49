"""Exports as those load them whom they are made for; in a process of its own: `datasets` reads its settings once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ut_clips_dagster.storage import clips_view
from ut_clips_dagster.storage.local import LocalStore

from .archive import SESSIONS, STORED, fill, run

LOAD = """
import json, sys
from datasets import Video, load_dataset
column, calls = sys.argv[1], [json.loads(each) for each in sys.argv[2:]]
for call in calls:
    rows = load_dataset(*call["of"], **call["with"], split="train").cast_column(column, Video(decode=False))
    told = [{**row, column: row[column]["path"]} for row in rows]
    print(json.dumps(told, default=str))
"""
WEBDATASET = """
import json, sys
import webdataset
samples = webdataset.WebDataset(sys.argv[1:], shardshuffle=False, empty_check=False).decode()
told = [{**each, "mp4": len(each["mp4"]), "vtt": bytes(each["vtt"]).decode()} for each in samples]
print(json.dumps(told, default=str))
"""


def loaded(tmp_path: Path, script: str, *arguments: str) -> list[Any]:
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    command = [sys.executable, "-W", "ignore", "-c", script, *arguments]
    environment = {**os.environ, **offline}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


def ids(rows: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(row["session_id"], row["clip_uuid"]) for row in rows}


EXPECTED = {(s.id, c.uuid) for s in SESSIONS for c in s.clips if c.status == "STORED"}


@pytest.mark.parametrize("name", ["test-of the train, validation"])
def test_datasets_loads_a_videofolder_with_all_rows_and_metadata(tmp_path: Path, store: LocalStore, name: str) -> None:
    fill(store)
    target = tmp_path / name
    run(store, target, "videofolder")
    calls = [{"of": ["videofolder"], "with": {"data_dir": str(target)}}, {"of": [str(target)], "with": {}}]

    for rows in loaded(tmp_path, LOAD, "video", *map(json.dumps, calls)):
        assert len(rows) == STORED
        assert ids(rows) == EXPECTED
        assert set(rows[0]) == {"video", *clips_view.SCHEMA.names} - {"storage_path"}
        for row in rows:
            path = Path(row["video"]).relative_to(target)
            assert (Path(store.uri) / path).read_bytes() == (target / path).read_bytes()
    said = next(row for row in rows if row["cues"])
    assert (said["text"], said["cues"][0]["end_ms"], said["words"]) == ("hi <b> & --> there", 12_000, 5)
    assert (target / said["poster_path"]).read_bytes() == b"no picture"


def test_datasets_and_webdataset_load_a_webdataset_with_all_rows_and_metadata(
    tmp_path: Path, store: LocalStore
) -> None:
    fill(store)  # its first six samples know neither media nor transcripts: loaders take their types for all
    target = tmp_path / "test-set"
    run(store, target, "webdataset", shard_bytes=100_000)
    shards = sorted(map(str, target.glob("clips-*.tar")))
    assert [Path(shard).name for shard in shards] == [f"clips-00000{n}.tar" for n in range(3)]
    calls = [{"of": ["webdataset"], "with": {"data_dir": str(target)}}, {"of": [str(target)], "with": {}}]

    (samples,) = loaded(tmp_path, WEBDATASET, *shards)
    told = [[row["json"] for row in rows] for rows in loaded(tmp_path, LOAD, "mp4", *map(json.dumps, calls))]

    for rows in (*told, [sample["json"] for sample in samples]):
        assert len(rows) == STORED
        assert ids(rows) == EXPECTED
        assert all(value is not None for row in rows for value in row.values())
        assert {frozenset(row) for row in rows} == {
            frozenset(clips_view.SCHEMA.names) - {"storage_path", "poster_path", "cues"}
        }
    vtts = [sample["vtt"] for sample in samples]
    assert vtts.count("WEBVTT\n") == STORED - 1
    assert "hi &lt;b&gt; &amp; --&gt; there" in max(vtts, key=len)
    unknown = next(row for row in told[0] if row["clip_name"] == "no media, no transcript")
    assert (unknown["width"], unknown["duration_s"], unknown["text"], unknown["has_audio_track"]) == (-1, -1.0, "", -1)


def test_sample_is_an_mp4_a_json_and_a_vtt_of_one_name_without_dots(tmp_path: Path, store: LocalStore) -> None:
    fill(store)
    run(store, tmp_path / "x", "webdataset")
    with tarfile.open(tmp_path / "x" / "clips-000000.tar") as tar:
        names = tar.getnames()
        sizes = {member.name: member.size for member in tar}
    kinds = [name.split(".") for name in names]
    assert [kind for _, kind in kinds] == ["mp4", "json", "vtt"] * STORED
    assert {tuple(key.split("_")) for key, _ in kinds} == EXPECTED
    assert all(sizes.values())
