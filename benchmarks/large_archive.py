"""An archive and a Dagster instance with many known sessions, as cheaply as they can be had.

A few sessions are archived by the real job on the simulator. Their events, runs, documents and rows are then copied,
under new keys, straight into the databases, files and the table: what is read later is of real size.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
import pyarrow as pa
from dagster import DagsterInstance
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from deltalake import WriterProperties, write_deltalake

from ut_clips_dagster.archive.records import seal, unseal
from ut_clips_dagster.cli.runs import QUIET
from ut_clips_dagster.definitions import JOB, archive_resource, build_definitions
from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.results_api.models import SessionSummary
from ut_clips_dagster.sensors.new_sessions import take_sessions
from ut_clips_dagster.settings import Settings, load_settings
from ut_clips_dagster.simulator import DEMO_TEST_ID, SimulatorServer
from ut_clips_dagster.storage import compaction, metadata_table

ROOT = Path(__file__).resolve().parent.parent
SESSIONS_PER_RUN = 10
RECENT_DAYS = 30
OLD_DAYS = 400
NOW = datetime.now(timezone.utc)


@dataclass(frozen=True)
class Place:
    """One platform: where its Dagster instance and its archive are, and the settings that name them."""

    root: Path
    environment: Mapping[str, str]

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def archive(self) -> Path:
        return self.root / "archive"

    @contextmanager
    def entered(self) -> Iterator[tuple[DagsterInstance, Settings]]:
        """Its settings in the environment, and its Dagster instance."""
        os.environ.update(self.environment)
        with DagsterInstance.from_config(str(self.home)) as instance:
            yield instance, load_settings()


def make_place(root: Path, server: SimulatorServer, time_scale: float) -> Place:
    """An empty platform for this simulator."""
    place = Place(
        root,
        {
            **server.environment,
            "UT_CLIPS_ARCHIVE": str(root / "archive"),
            "UT_CLIPS_POLL_INTERVAL_S": str(3 / time_scale),
            "DAGSTER_HOME": str(root / "home"),
        },
    )
    place.home.mkdir(parents=True)
    shutil.copy(ROOT / "dagster.yaml", place.home)
    return place


def add_sessions(place: Place, server: SimulatorServer, number: int, clips: int) -> list[str]:
    """New sessions at UserTesting, taken as the sensor takes them."""
    new = [server.world.add_session(clips=clips) for _ in range(number)]
    summaries = [
        SessionSummary(session_id=s.session_id, status=s.status, start_time=s.started_at, finish_time=s.finished_at)
        for s in new
    ]
    keys = [s.session_id for s in new]
    with place.entered() as (instance, settings):
        events = take_sessions(archive_resource(settings).records(), DEMO_TEST_ID, summaries)
        instance.add_dynamic_partitions(SESSIONS, keys)
        for event in events:
            instance.report_runless_asset_event(event)
    return keys


def run_job(place: Place, keys: list[str]) -> None:
    """The real job over a contiguous range of sessions, in this process."""
    with place.entered() as (instance, settings):
        result = (
            build_definitions(settings)
            .resolve_job_def(JOB)
            .execute_in_process(
                instance=instance,
                tags={ASSET_PARTITION_RANGE_START_TAG: keys[0], ASSET_PARTITION_RANGE_END_TAG: keys[-1]},
                run_config=QUIET,
            )
        )
    if not result.success:
        raise SystemExit("The run failed.")


def multiply(place: Place, templates: list[str], sessions: int) -> None:
    """Copy the archived template sessions until there are so many."""
    clones: dict[str, list[str]] = {template: [] for template in templates}
    for number in range(sessions - len(templates)):
        clones[templates[number % len(templates)]].append(str(uuid.uuid4()))
    order = [key for keys in zip(*clones.values(), strict=False) for key in keys]  # runs of ten, one of each template
    _copy_events(place.home, templates, [order[i : i + len(templates)] for i in range(0, len(order), len(templates))])
    newest = order[-len(order) // 10 :]  # a tenth ended within the last 30 days, and is still listed again
    # half days old: the times at which a session is listed again are whole days after its end, so none is due now
    recent = {key: RECENT_DAYS - 0.5 - RECENT_DAYS * number // len(newest) for number, key in enumerate(newest)}
    ended = {key: NOW - timedelta(days=recent.get(key, OLD_DAYS)) for key in order}
    for template, keys in clones.items():
        _copy_documents(place.archive / "sessions", template, keys, ended)
    _copy_rows(place, clones, ended)


def _copy_events(home: Path, templates: list[str], runs: list[list[str]]) -> None:
    with closing(sqlite3.connect(home / "history" / "runs.db")) as db:
        (old_run,) = db.execute("select run_id from runs order by id desc limit 1").fetchone()
        run_ids = [str(uuid.uuid4()) for _ in runs]
        _copy_table(db, "runs", f"run_id = '{old_run}'", templates, runs, old_run, run_ids)
        _copy_table(db, "run_tags", f"run_id = '{old_run}'", templates, runs, old_run, run_ids)
        db.commit()
    with closing(sqlite3.connect(home / "history" / "runs" / "index.db")) as db:
        keys = ", ".join(f"'{key}'" for key in templates)
        chosen = f"partition in ({keys}) or (partition is null and run_id = '{old_run}')"
        _copy_table(db, "event_logs", chosen, templates, runs, old_run, run_ids)
        db.executemany(
            "insert into dynamic_partitions (partitions_def_name, partition) values (?, ?)",
            ((SESSIONS, key) for run in runs for key in run),
        )
        db.commit()


def _copy_table(  # noqa: PLR0913, PLR0917
    db: sqlite3.Connection,
    table: str,
    where: str,
    templates: list[str],
    runs: list[list[str]],
    old_run: str,
    run_ids: list[str],
) -> None:
    names = [row[1] for row in db.execute(f"pragma table_info({table})") if row[1] != "id"]
    rows = db.execute(f"select {', '.join(names)} from {table} where {where} order by id").fetchall()

    def copies() -> Iterator[tuple[object, ...]]:
        for run_id, keys in zip(run_ids, runs, strict=True):
            renamed = {old_run: run_id, **dict(zip(templates, keys, strict=False))}
            for row in rows:
                yield tuple(_renamed(value, renamed) if isinstance(value, str) else value for value in row)

    db.executemany(f"insert into {table} ({', '.join(names)}) values ({', '.join('?' * len(names))})", copies())


def _renamed(text: str, names: Mapping[str, str]) -> str:
    for old, new in names.items():
        text = text.replace(old, new)
    return text


def _copy_documents(sessions: Path, template: str, keys: list[str], ended: Mapping[str, datetime]) -> None:
    documents = {path.name: unseal(path.read_bytes()) for path in (sessions / template).glob("*.json")}
    for key in keys:
        (sessions / key).mkdir()
        at = ended[key].isoformat().replace("+00:00", "Z")
        for name, payload in documents.items():
            content = payload.replace(template.encode(), key.encode())
            if name == "session.json":
                old = content.split(b'"finished_at": "')[1].split(b'"')[0]
                content = content.replace(b'"finished_at": "' + old, b'"finished_at": "' + at.encode())
            (sessions / key / name).write_bytes(seal(content))


def _copy_rows(place: Place, clones: Mapping[str, list[str]], ended: Mapping[str, datetime]) -> None:
    table = metadata_table.MetadataTable(str(place.archive))
    rows = table.read()
    pieces = [rows]
    for template, keys in clones.items():
        old = rows[rows["session_id"] == template]
        new = pd.concat([old] * len(keys), ignore_index=True)
        new["session_id"] = pd.Series([key for key in keys for _ in range(len(old))], dtype="string")
        new["session_finished_at"] = new["session_id"].map(ended).astype(new["session_finished_at"].dtype)
        new["storage_path"] = "clips/" + new["study_uuid"] + "/" + new["session_id"] + "/" + new["clip_uuid"] + ".mp4"
        pieces.append(new)
    everything = pd.concat(pieces).sort_values("session_id", ignore_index=True)
    arrow = pa.Table.from_pandas(everything, schema=metadata_table.SCHEMA, preserve_index=False)
    compressed = WriterProperties(compression="ZSTD")
    size = compaction.COMPACT_TO_BYTES
    write_deltalake(table.uri, arrow, mode="overwrite", target_file_size=size, writer_properties=compressed)
