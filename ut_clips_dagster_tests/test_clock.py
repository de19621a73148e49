"""A clock that was a year ahead for an hour, or is a year behind for one, keeps nothing from being done, nor silently.

In all of these the clock was at `AHEAD`, and is at `NOW`: for a clock that jumped back it is the other way round in a
person's eyes, and the same here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ut_clips_dagster.archive.discovery import Discoveries, next_test
from ut_clips_dagster.archive.documents import SessionDocument, SessionRecord, merge_listing
from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.archive.relisting import RELIST_AFTER, next_relist, settled_sessions
from ut_clips_dagster.archive.rows import all_clip_metadata
from ut_clips_dagster.clock import SKEW, is_future, not_ahead
from ut_clips_dagster.errors import ApiUnavailableError
from ut_clips_dagster.health import alerts
from ut_clips_dagster.health.alerts import AlertState, Known, Target
from ut_clips_dagster.health.delivery import AlertMemory
from ut_clips_dagster.health.facts import Facts, InstanceFacts, SensorFacts, Waiting
from ut_clips_dagster.health.findings import Finding, Limits, judge
from ut_clips_dagster.health_facts import discoveries_of
from ut_clips_dagster.results_api.models import Clip, Pagination, SessionListMeta, SessionPage, SessionSummary
from ut_clips_dagster.sensors import late_clips
from ut_clips_dagster.sensors.new_sessions import CrawlState, next_state
from ut_clips_dagster.sensors.unfinished_sessions import Tries, plan_retries
from ut_clips_dagster.storage.local import LocalStore

NOW = datetime(2026, 11, 25, 12, tzinfo=timezone.utc)
AHEAD = NOW + timedelta(days=365)
TEST, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
SESSION = "33333333-3333-4333-8333-333333333333"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def clips(number: int) -> tuple[Clip, ...]:
    return tuple(
        Clip(
            uuid=f"00000000-0000-4000-8000-{n:012d}", name="clip", time_start_ms=0, time_end_ms=1, video_uuid=TEST,
            has_audio=True, has_camera=True,
        )
        for n in range(number)
    )  # fmt: skip


def listed(at: datetime, first: datetime | None = None, *, ended: datetime | None, found: bool = True) -> SessionRecord:
    """A session that was listed at a time, and first at another one."""
    listing = merge_listing(merge_listing(None, SESSION, TEST, clips(2), first or at), SESSION, TEST, clips(2), at)
    session = SessionDocument(
        session_id=SESSION, test_id=TEST, status="", started_at=NOW, finished_at=ended, found_at=AHEAD
    )
    update = {"session": session if found else None, "clip_list": listing}
    return SessionRecord.empty(SESSION).model_copy(update=update)


def test_a_time_lies_ahead_when_no_two_clocks_differ_so_much() -> None:
    assert [is_future(NOW + by, NOW) for by in (timedelta(), SKEW, SKEW * 1.01)] == [False, False, True]
    assert (not_ahead(AHEAD, NOW), not_ahead(NOW + SKEW, NOW)) == (NOW, NOW + SKEW)


def test_every_test_gets_its_turns_and_a_failing_one_is_told(store: LocalStore) -> None:
    for test_id in (TEST, OTHER):
        Discoveries(store, lambda: AHEAD).succeeded(test_id, 3)
    asked = []
    for minute in range(0, 150, 5):
        now = NOW + timedelta(minutes=minute)
        discoveries = Discoveries(store, lambda now=now: now)  # type: ignore[misc]
        asked.append(next_test([TEST, OTHER], discoveries.read_all(), now))
        discoveries.asking(asked[-1])
        document = discoveries.failed(asked[-1], ApiUnavailableError("It is down."))

    assert Counter(asked) == {TEST: 15, OTHER: 15}
    assert (document.is_lost(now), document.failing_since) == (True, NOW + timedelta(minutes=5))


def test_a_true_listing_takes_the_place_of_one_that_lies_ahead(store: LocalStore) -> None:
    records = SessionRecords(store, lambda: NOW)
    for at, number in ((AHEAD, 1), (NOW, 2)):
        kept = records.write_listing(
            SESSION, lambda before, at=at, n=number: merge_listing(before, SESSION, TEST, clips(n), at)
        )  # type: ignore[misc]

    assert (len(kept.clips), kept.listed_at, kept.first_listed_at) == (2, NOW, NOW)


@pytest.mark.parametrize(
    ("record", "due"),
    [
        (listed(AHEAD, ended=NOW - timedelta(days=2)), NOW - timedelta(days=2) + RELIST_AFTER[0]),
        (listed(AHEAD, NOW, ended=None, found=False), NOW + RELIST_AFTER[0]),
        (listed(AHEAD, ended=None), NOW),
        (listed(NOW, ended=NOW - timedelta(days=2)), NOW + timedelta(days=1)),
        (listed(NOW, ended=AHEAD), NOW + RELIST_AFTER[0]),
    ],
    ids=["the listing", "a session by hand", "all that is known", "when it was found", "its end"],
)
def test_a_session_is_listed_again_whatever_of_it_lies_ahead(record: SessionRecord, due: datetime) -> None:
    assert next_relist(record, NOW) == due
    assert settled_sessions(all_clip_metadata([record]), NOW) == set()


def test_late_clips_looks_again_at_what_it_took_for_settled(store: LocalStore) -> None:
    records = SessionRecords(store, lambda: AHEAD)
    records.write_listing(SESSION, lambda _: merge_listing(None, SESSION, TEST, (), AHEAD))
    before = late_clips.Cursor(last_seen=(SESSION,), event=7, looked_at=AHEAD)

    cursor, wanted = late_clips.plan_relists(before, [SESSION], records, set(), NOW)

    assert (wanted, cursor.event, cursor.last_seen) == ([SESSION], 7, (SESSION,))


def test_a_retry_is_due_at_once_and_then_after_its_waiting_time() -> None:
    tries, due = plan_retries({SESSION: Tries(since=AHEAD, retries=1)}, [SESSION], set(), NOW)

    assert (due, tries) == ([SESSION], {SESSION: Tries(since=NOW, retries=1, asked=True)})


def test_a_session_list_is_read_to_its_end_at_once() -> None:
    page = SessionPage(
        test_id=TEST,
        sessions=tuple(SessionSummary(session_id=SESSION, status="", start_time=NOW) for _ in range(100)),
        meta=SessionListMeta(pagination=Pagination(limit=100, offset=0, total_count=200)),
    )

    state = next_state(CrawlState(known_total=200, read_to_end_at=AHEAD), page, 0, NOW, all_taken=True)

    assert (state.offset, state.began_at) == (75, NOW)


@pytest.mark.parametrize("what", ["test", "tick", "life", "waiting"])
def test_health_tells_what_lies_ahead_and_what_to_do(store: LocalStore, what: str) -> None:
    Discoveries(store, lambda: AHEAD if what == "test" else NOW).succeeded(TEST, 3)
    well = InstanceFacts({"SENSOR": NOW}, [SensorFacts("late_clips", 60, last_tick_at=NOW)])
    instance = {
        "test": well,
        "tick": replace(well, sensors=[SensorFacts("late_clips", 60, last_tick_at=AHEAD)]),
        "life": replace(well, heartbeats={"SENSOR": AHEAD}),
        "waiting": replace(well, oldest_unfinished=Waiting(SESSION, AHEAD)),
    }[what]

    (finding,) = judge(Facts(NOW, "", discoveries=Discoveries(store).read_all(), instance=instance), Limits())

    named = {"test": TEST, "tick": "late_clips", "life": "SENSOR", "waiting": SESSION}[what]
    assert (finding.key, finding.since, named in finding.what) == ("clock", None, True)


def test_a_test_that_was_read_ahead_hides_no_other_where_the_settings_are_unknown(store: LocalStore) -> None:
    Discoveries(store, lambda: AHEAD).succeeded(OTHER, 3)
    Discoveries(store, lambda: NOW).succeeded(TEST, 3)

    assert discoveries_of(Discoveries(store), None, NOW).keys() == {TEST, OTHER}


def test_what_was_told_is_not_told_again_nor_kept_from_being_told(store: LocalStore, tmp_path: Path) -> None:
    """The spare memory was written while the clock was ahead: it is not the newest for a year."""
    memory = AlertMemory(store, tmp_path / "spare")
    told = AlertState(looked_at=NOW, targets={"a": Target(claimed_until=AHEAD)})
    memory.update(lambda _: told, NOW)
    AlertMemory(LocalStore(tmp_path / "spare"), tmp_path / "none").update(lambda _: AlertState(looked_at=AHEAD), NOW)
    full = Finding("space", "It is full.", None, "Make room.")
    seen = Target(findings={"space": Known(what="", first_seen=AHEAD), "x": Known(what="", first_seen=NOW, told=True)})

    assert memory.read(NOW) == told
    assert not told.targets["a"].is_claimed(NOW)
    after = alerts.look(seen.model_copy(), [full], NOW)
    assert [known.first_seen for known in after.findings.values()] == [NOW, NOW]
