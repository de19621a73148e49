"""What is not well, since when, and what to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from ut_clips_dagster.archive.discovery import DiscoveryDocument
from ut_clips_dagster.health.facts import Facts, InstanceFacts, SensorFacts, Space, Waiting
from ut_clips_dagster.health.findings import Finding, Limits, judge

NOW = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)
TEST, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def read(at: datetime | None = None, test_id: str = TEST, **changes: object) -> DiscoveryDocument:
    at = at or ago(minutes=4)
    document = DiscoveryDocument(test_id=test_id, first_asked_at=ago(days=30), asked_at=at, succeeded_at=at)
    return document.model_copy(update=changes)


def unread(kind: str, since: datetime, failures: int = 9, test_id: str = TEST) -> DiscoveryDocument:
    changes = {"kind": kind, "failing_since": since, "failures": failures, "problem": "It was refused."}
    return read(since - timedelta(minutes=5), test_id, asked_at=NOW, **changes)


WELL = InstanceFacts(
    heartbeats={"SENSOR": ago(seconds=20), "BACKFILL": ago(seconds=20)},
    sensors=[SensorFacts("new_sessions", 300, last_tick_at=ago(minutes=4), discovers=True)],
)


def facts(*documents: DiscoveryDocument, instance: InstanceFacts | None = WELL, **more: object) -> Facts:
    known = {document.test_id: document for document in documents or (read(),)}
    return replace(Facts(NOW, "/archive", discoveries=known, instance=instance), **more)  # type: ignore[arg-type]


def found(given: Facts, **limits: object) -> dict[str, Finding]:
    findings = judge(given, replace(Limits(), **limits))  # type: ignore[arg-type]
    assert all(finding.what and finding.to_do for finding in findings)
    return {finding.key: finding for finding in findings}


def test_all_is_well() -> None:
    assert found(facts()) == {}


@pytest.mark.parametrize("kind", ["credentials", "access"])
def test_lost_access_is_told_at_once_and_since_when(kind: str) -> None:
    (finding,) = found(facts(unread(kind, ago(minutes=1), failures=1))).values()

    assert finding.since == ago(minutes=1)
    assert "It was refused." in finding.what


@pytest.mark.parametrize(("minutes", "expected"), [(50, set()), (60, {"discovery:outage"})])
def test_an_outage_is_one_after_an_hour(minutes: int, expected: set[str]) -> None:
    assert found(facts(unread("outage", ago(minutes=minutes)))).keys() == expected


def test_one_cause_is_one_finding_however_many_tests_it_befell() -> None:
    both = facts(unread("credentials", ago(hours=1)), unread("credentials", ago(hours=2), test_id=OTHER))

    (finding,) = found(both).values()

    assert finding.since == ago(hours=2)
    assert TEST in finding.what
    assert OTHER in finding.what


def test_access_lost_to_two_tests_is_two_findings() -> None:
    both = facts(unread("access", ago(hours=1)), unread("access", ago(hours=2), test_id=OTHER))

    assert found(both).keys() == {f"discovery:access:{TEST}", f"discovery:access:{OTHER}"}


def test_a_session_list_that_nobody_reads_is_a_finding_but_not_while_a_backlog_is_archived() -> None:
    old = facts(read(ago(hours=2)))
    busy = replace(old, instance=replace(WELL, runs_in_flight=3))

    assert found(old)["discovery:silent"].since == ago(hours=2)
    assert found(busy) == {}
    assert found(old, discovery=timedelta(hours=3)) == {}


def test_many_tests_wait_for_their_turn() -> None:
    documents = [read(ago(hours=3), f"00000000-0000-4000-8000-{n:012d}") for n in range(20)]

    assert found(facts(*documents)) == {}, "20 tests, one every 5 min: each is asked every 100 min"


def test_a_test_that_was_never_asked_is_a_finding_once_others_were_for_long() -> None:
    given = facts(read())
    new = replace(given, discoveries={TEST: read(first_asked_at=ago(minutes=5)), OTHER: None})
    old = replace(given, discoveries={TEST: read(), OTHER: None})

    assert found(new) == {}
    assert OTHER in found(old)["discovery:silent"].what


@pytest.mark.parametrize("discoveries", [{}, {TEST: None}])
def test_an_archive_in_which_nothing_was_ever_read_is_not_well_unless_a_daemon_has_just_begun(
    discoveries: dict[str, None],
) -> None:
    begun = replace(WELL, begun_at=ago(minutes=1))
    empty = facts(archive_is_empty=True, discoveries=discoveries, instance=begun)
    no_daemon = InstanceFacts({"SENSOR": None}, WELL.sensors)

    assert found(empty) == {}
    for given in (
        replace(empty, instance=replace(begun, begun_at=ago(minutes=61))),
        replace(empty, instance=no_daemon),
        replace(empty, instance=None),
    ):
        assert found(given).keys() == {"discovery:silent"}


def test_a_code_location_that_never_loaded_is_one_finding_once_the_daemon_runs_for_an_hour() -> None:
    sensors = [SensorFacts("new_sessions", 300, discovers=True), SensorFacts("late_clips", 600)]
    begun = replace(WELL, sensors=sensors, begun_at=ago(minutes=61))
    never = facts(archive_is_empty=True, discoveries={TEST: None}, instance=begun)

    (finding,) = found(never).values()
    assert (finding.key, finding.since) == ("location", ago(minutes=61))
    assert found(facts(read(ago(hours=9)), instance=begun)).keys() == {"location"}
    for given in (
        facts(instance=begun),  # cron reads the lists
        replace(never, instance=replace(begun, begun_at=ago(minutes=59))),
    ):
        assert found(given) == {}
    ticked = replace(begun, sensors=[*sensors, *WELL.sensors])
    assert found(replace(never, instance=ticked)).keys() == {"discovery:silent"}


def test_a_dead_daemon_is_one_finding_and_not_one_for_all_that_follows_from_it() -> None:
    sensors = [SensorFacts("new_sessions", 300, last_tick_at=ago(hours=9), discovers=True)]
    dead = InstanceFacts({"SENSOR": ago(hours=9), "BACKFILL": ago(hours=9)}, sensors)

    (finding,) = found(facts(read(ago(hours=9)), instance=dead)).values()

    assert (finding.key, finding.since) == ("daemon", ago(hours=9))
    assert "does not run" in finding.what


def test_a_part_of_the_daemon_that_is_silent_is_named() -> None:
    part = replace(WELL, heartbeats={"SENSOR": ago(hours=1), "BACKFILL": ago(seconds=10)})

    assert "SENSOR" in found(facts(instance=part))["daemon"].what


def test_where_no_daemon_ever_ran_none_is_missed() -> None:
    """`ut-clips archive` from cron records in an instance, too."""
    never = InstanceFacts({"SENSOR": None}, [SensorFacts("new_sessions", 300, discovers=True)])

    assert found(facts(instance=never)) == {}
    assert found(facts(instance=None)) == {}


@pytest.mark.parametrize(
    ("sensor", "key"),
    [
        (SensorFacts("late_clips", 600, on=False), "sensor:late_clips:off"),
        (
            SensorFacts("late_clips", 600, failures=2, failing_since=ago(hours=1), error="The disk."),
            "sensor:late_clips",
        ),
        (SensorFacts("late_clips", 600, last_tick_at=ago(minutes=31)), "sensor:late_clips:silent"),
    ],
)
def test_a_sensor_that_is_off_fails_or_does_not_tick_is_a_finding(sensor: SensorFacts, key: str) -> None:
    assert found(facts(instance=replace(WELL, sensors=[sensor]))).keys() == {key}


@pytest.mark.parametrize(
    "sensor",
    [
        SensorFacts("late_clips", 600, failures=1, failing_since=ago(minutes=1), error="A restart."),
        SensorFacts("late_clips", 600, last_tick_at=ago(minutes=29)),
        SensorFacts("late_clips", 600),
        SensorFacts("old_runs", 3600, on=False, may_be_off=True),
    ],
)
def test_a_sensor_that_failed_once_is_not_due_or_may_be_off_is_none(sensor: SensorFacts) -> None:
    assert found(facts(instance=replace(WELL, sensors=[sensor]))) == {}


def test_new_sessions_that_fails_is_told_by_its_tests_and_not_twice() -> None:
    failing = replace(WELL.sensors[0], last_tick_at=ago(minutes=1), failures=5, error="refused")
    instance = replace(WELL, sensors=[failing])

    assert found(facts(unread("credentials", ago(hours=1)), instance=instance)).keys() == {"discovery:credentials"}
    assert found(facts(instance=instance)).keys() == {"sensor:new_sessions"}
    malformed = facts(read(malformed=1), instance=instance)
    assert found(malformed).keys() == {f"malformed:{TEST}", "sensor:new_sessions"}, "that does not tell of it"


def test_alerts_that_cannot_be_delivered_are_told_by_their_receivers_and_not_twice() -> None:
    failing = SensorFacts("health_alerts", 60, failures=5, error="cannot be delivered", alerts=True)
    given = facts(instance=replace(WELL, sensors=[failing]))

    undelivered = replace(given, undelivered=[Waiting("alert URL 1 (json://)", ago(hours=1))])
    assert found(undelivered).keys() == {"alerts:alert URL 1 (json://)"}
    assert found(given).keys() == {"sensor:health_alerts"}


def test_sessions_given_up_and_what_waits_too_long() -> None:
    waiting = replace(
        WELL,
        given_up=[Waiting("s1", ago(days=3)), Waiting("s2", ago(days=1))],
        oldest_queued_run=Waiting("r1", ago(hours=13)),
        oldest_unfinished=Waiting("s3", ago(days=4)),
    )
    given = facts(instance=waiting)

    assert found(given).keys() == {"given_up", "queued", "unarchived"}
    assert "2 sessions are given up after all retries, such as s1" in found(given)["given_up"].what
    raised = found(given, given_up=2, queued=timedelta(days=1), unarchived=timedelta(days=5))
    assert raised == {}


def test_little_space_an_unreadable_archive_and_instance_and_undelivered_alerts() -> None:
    given = facts(
        archive_problem="Cannot list /archive.",
        instance_problem="The database is down.",
        spaces=[Space("the archive", "/archive", 1024**3), Space("DAGSTER_HOME", "/home", 3 * 1024**3)],
        undelivered=[Waiting("alert URL 1 (json://)", ago(hours=1))],
    )

    assert list(found(given)) == ["archive", "space:the archive", "instance", "alerts:alert URL 1 (json://)"]
    assert "space:the archive" not in found(given, free_bytes=1024**3)
