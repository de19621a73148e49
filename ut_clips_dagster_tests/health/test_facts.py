"""What is gathered from a Dagster instance and the documents of sessions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from dagster import DagsterInstance
from dagster._core.scheduler.instigation import SensorInstigatorData
from dagster._daemon.types import DaemonHeartbeat

from ut_clips_dagster.archive.documents import SessionDocument
from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.health.facts import InstanceFacts
from ut_clips_dagster.health_facts import MOST_READ, gather
from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.sensor_names import UNFINISHED_SESSIONS
from ut_clips_dagster.sensors.unfinished_sessions import RETRY_AFTER, Cursor, Tries
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.metadata_table import MetadataTable
from ut_clips_dagster_tests.cli.test_health import sensor_state

NOW = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[DagsterInstance]:
    with DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield instance


def looked_at(instance: DagsterInstance, archive: Path, now: datetime = NOW) -> InstanceFacts:
    archive.mkdir(exist_ok=True)
    facts = gather(LocalStore(archive), MetadataTable.of_archive(str(archive)), None, instance, archive.parent, now)
    assert facts.instance
    return facts.instance


def key(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def found(archive: Path, session_id: str, at: datetime) -> None:
    SessionRecords(LocalStore(archive)).write_session(
        SessionDocument(
            session_id=session_id, test_id=key(0), status="", started_at=at, finished_at=at, found_at=at
        )
    )  # fmt: skip


def test_the_daemon_has_begun_when_one_was_first_seen_whatever_becomes_of_the_configuration(
    instance: DagsterInstance, tmp_path: Path
) -> None:
    archive = tmp_path / "archive"
    assert looked_at(instance, archive).begun_at is None, "cron needs no daemon"
    instance.add_daemon_heartbeat(DaemonHeartbeat(NOW.timestamp(), "SENSOR", "one"))
    ahead = NOW + timedelta(days=365)
    assert looked_at(instance, archive, ahead).begun_at == ahead
    assert looked_at(instance, archive).begun_at == NOW, "that clock was wrong"

    for hours in (1, 2):
        (tmp_path / "dagster.yaml").write_text("")  # each start of the code server, each pod of a CronJob
        assert looked_at(instance, archive, NOW + timedelta(hours=hours)).begun_at == NOW


def test_neither_a_session_given_up_nor_partitions_added_by_hand_hide_what_waits(
    instance: DagsterInstance, tmp_path: Path
) -> None:
    given_up, waiting = key(1), key(MOST_READ + 2)
    instance.add_dynamic_partitions(SESSIONS, [key(n) for n in range(1, MOST_READ + 3)])
    found(tmp_path / "archive", given_up, NOW - timedelta(days=30))
    found(tmp_path / "archive", waiting, NOW - timedelta(days=20))
    tries = Tries(retries=len(RETRY_AFTER), since=NOW - timedelta(days=28))
    cursor = Cursor(sessions={given_up: tries}).model_dump_json()
    instance.add_instigator_state(sensor_state(UNFINISHED_SESSIONS).with_data(SensorInstigatorData(cursor=cursor)))

    facts = looked_at(instance, tmp_path / "archive")

    assert [session.name for session in facts.given_up] == [given_up]
    assert facts.oldest_unfinished
    assert facts.oldest_unfinished.name == waiting
