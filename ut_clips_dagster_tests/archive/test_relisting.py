"""Which sessions are listed again, told from documents and, for those that no longer are, from rows alone."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ut_clips_dagster.archive.documents import SessionDocument, SessionRecord, merge_listing
from ut_clips_dagster.archive.relisting import RELIST_AFTER, next_relist, settled_sessions
from ut_clips_dagster.archive.rows import all_clip_metadata
from ut_clips_dagster.results_api.models import Clip

TEST = "00000000-0000-4000-8000-0000000000ff"
SESSION = "00000000-0000-4000-8000-000000000001"
FINISHED = datetime(2026, 1, 1, tzinfo=timezone.utc)
NOW = FINISHED + timedelta(days=90)


def clip(number: int) -> Clip:
    return Clip(
        uuid=f"00000000-0000-4000-8000-{number:012d}",
        name=f"clip {number}",
        time_start_ms=0,
        time_end_ms=1000,
        video_uuid=TEST,
        has_audio=True,
        has_camera=True,
    )


def record(*listed: tuple[timedelta, int], finished_at: datetime | None = FINISHED) -> SessionRecord:
    """A session that was listed so long after its end, with so many clips."""
    listing = None
    for after, clips in listed:
        found = tuple(clip(number) for number in range(clips))
        listing = merge_listing(listing, SESSION, TEST, found, FINISHED + after)
    document = SessionDocument(
        session_id=SESSION,
        test_id=TEST,
        status="COMPLETE",
        started_at=FINISHED,
        finished_at=finished_at,
        found_at=FINISHED,
    )
    return SessionRecord.empty(SESSION).model_copy(update={"session": document, "clip_list": listing})


def test_a_session_listed_after_its_last_time_is_settled() -> None:
    assert settled_sessions(all_clip_metadata([record((RELIST_AFTER[-1], 2))]), NOW) == {SESSION}


def test_one_that_is_still_to_be_listed_again_is_not() -> None:
    assert settled_sessions(all_clip_metadata([record((RELIST_AFTER[-1] - timedelta(seconds=1), 2))]), NOW) == set()


@pytest.mark.parametrize(
    "unknown",
    [record((RELIST_AFTER[-1], 0)), record((RELIST_AFTER[-1], 2), finished_at=None)],
    ids=["without rows", "without a known end"],
)
def test_where_the_rows_do_not_tell_the_documents_have_to(unknown: SessionRecord) -> None:
    assert settled_sessions(all_clip_metadata([unknown]), NOW) == set()


@given(
    st.lists(st.tuples(st.timedeltas(timedelta(0), timedelta(days=60)), st.integers(0, 3)), min_size=1, max_size=4).map(
        sorted
    )
)
def test_the_rows_never_settle_what_the_documents_do_not(listings: list[tuple[timedelta, int]]) -> None:
    listed = record(*listings)
    if settled_sessions(all_clip_metadata([listed]), NOW):
        assert next_relist(listed, NOW) is None


@pytest.mark.parametrize("edge", [datetime.min, datetime(1970, 1, 1), datetime.max])  # noqa: DTZ001, DTZ901 - its zone follows
def test_an_end_at_the_edge_of_time_is_taken_for_when_the_session_was_found(edge: datetime) -> None:
    """Year 1 and the beginning of Unix time stand for none, and nothing ended after it was found."""
    odd = record((timedelta(), 1), finished_at=edge.replace(tzinfo=timezone.utc))

    assert next_relist(odd, NOW) == FINISHED + RELIST_AFTER[0]
    assert settled_sessions(all_clip_metadata([odd]), NOW) == set()
