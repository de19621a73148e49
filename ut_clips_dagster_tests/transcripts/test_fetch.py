"""When a transcript is asked for, what is kept of it, and what is not asked again."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.archive.relisting import RELIST_AFTER
from ut_clips_dagster.errors import ApiUnavailableError, ForbiddenError, InvalidAnswerError, TranscriptTooLargeError
from ut_clips_dagster.results_api.transcripts import MAX_TRANSCRIPT_BYTES
from ut_clips_dagster.transcripts.lacking import without_cuts, without_transcript

from .conftest import BODY, FINISHED_AT, SOON, A, Lab

SECOND = timedelta(seconds=1)


def test_transcript_is_kept_byte_for_byte_with_one_request_for_ever(lab: Lab) -> None:
    assert without_transcript(lab.metadata, lab.shelf.table, None, SOON) == {lab.session_id}
    fetched = lab.fetch()
    again = lab.fetch(SOON + timedelta(days=400))

    assert (fetched.asked, again.asked, lab.requests()) == (True, False, 1)
    assert lab.files()[f"sessions/{lab.session_id}/transcript.vtt"] == BODY
    document = json.loads(lab.files()[f"sessions/{lab.session_id}/transcript.json"])
    assert (document["status"], document["cues"], document["problem"]) == ("STORED", 3, None)
    assert document["source"] == f"{lab.simulator.url}/api/v2/sessionResults/{lab.session_id}/transcript"
    assert again.document == fetched.document
    assert without_transcript(lab.metadata, lab.shelf.table, None, SOON + timedelta(days=400)) == set()


@pytest.mark.parametrize(
    "body", [json.dumps(BODY.decode("utf-8-sig")).encode(), b"\n " + json.dumps("WEBVTT\n").encode()]
)
def test_json_string_is_unwrapped(lab: Lab, body: bytes) -> None:
    lab.simulator.world.set_transcript(lab.session_id, body)
    lab.fetch()
    assert lab.files()[f"sessions/{lab.session_id}/transcript.vtt"] == json.loads(body).encode()


@pytest.mark.parametrize("body", [None, b"", b'""', b"\xef\xbb\xbf \n"])
def test_session_without_transcript_is_asked_again_on_the_schedule_of_late_clips_and_then_never(
    lab: Lab, body: bytes | None
) -> None:
    lab.simulator.world.set_transcript(lab.session_id, body)
    due = [SOON, *(FINISHED_AT + after for after in RELIST_AFTER)]
    for number, at in enumerate(due, start=1):
        if number > 1:
            assert not lab.fetch(at - SECOND).asked
            assert without_transcript(lab.metadata, lab.shelf.table, None, at - SECOND) == set()
        assert without_transcript(lab.metadata, lab.shelf.table, None, at) == {lab.session_id}
        fetched = lab.fetch(at)
        assert (fetched.asked, fetched.document.status if fetched.document else None) == (True, "ABSENT")
    assert not lab.fetch(SOON + timedelta(days=1000)).asked
    assert without_transcript(lab.metadata, lab.shelf.table, None, SOON + timedelta(days=1000)) == set()
    assert lab.requests() == 7


def test_one_that_was_absent_while_the_clock_was_ahead_is_asked_for_again(lab: Lab) -> None:
    lab.simulator.world.set_transcript(lab.session_id, None)
    lab.fetch(SOON + timedelta(days=365))
    assert without_transcript(lab.metadata, lab.shelf.table, None, SOON) == {lab.session_id}

    assert lab.fetch(SOON).asked
    assert without_transcript(lab.metadata, lab.shelf.table, None, SOON) == set()
    assert lab.requests() == 2

    lab.simulator.world.set_transcript(lab.session_id, BODY)
    lab.fetch(SOON + timedelta(days=365))
    assert without_transcript(lab.metadata, lab.shelf.table, None, SOON) == set(), "it is stored"
    assert not lab.fetch(SOON).asked


def test_transcript_that_comes_late_is_kept_and_an_absent_one_never_replaces_it(lab: Lab) -> None:
    lab.simulator.world.set_transcript(lab.session_id, None)
    lab.fetch()
    lab.simulator.world.set_transcript(lab.session_id, BODY)
    lab.fetch(FINISHED_AT + timedelta(hours=1))
    assert lab.shelf.body(lab.session_id) == BODY
    document = lab.shelf.keep(lab.record, b"", "elsewhere", SOON)
    assert document.status == "STORED"
    assert lab.shelf.body(lab.session_id) == BODY


def test_session_without_a_stored_clip_is_not_asked_for(lab: Lab) -> None:
    records = SessionRecords(lab.store)
    records.forget_files(lab.session_id, frozenset(f.storage_path for f in lab.record.clip_files.files))
    assert lab.fetch().document is None
    assert lab.requests() == 0


@pytest.mark.parametrize(
    ("fault", "error", "requests"),
    [
        ("server_error", ApiUnavailableError, 5),
        ("html", InvalidAnswerError, 5),
        ("reset", ApiUnavailableError, 5),
        ("forbidden", ForbiddenError, 1),
    ],
)
def test_failure_is_none_of_absence_and_leaves_nothing(
    lab: Lab, fault: str, error: type[Exception], requests: int
) -> None:
    lab.simulator.faults.add(f"{fault}:operation=get_transcript")
    before = lab.files()
    with pytest.raises(error):
        lab.fetch()
    assert (lab.files(), lab.requests()) == (before, requests)
    lab.simulator.faults.clear()
    assert lab.fetch().asked


@pytest.mark.parametrize(
    "body",
    [b"<html>", b'"no end', b"[1]", b"WEBVTTX", b"1\n00:00:01,000 --> 00:00:02,000\nx", "WEBVTT".encode("utf-16")],
)
def test_what_is_no_webvtt_is_not_kept(lab: Lab, body: bytes) -> None:
    lab.simulator.world.set_transcript(lab.session_id, body)
    with pytest.raises(InvalidAnswerError, match=r"the transcript of session .* is no WebVTT|but is none"):
        lab.fetch()


def test_transcript_larger_than_any_is_refused_at_once(lab: Lab) -> None:
    lab.simulator.world.set_transcript(lab.session_id, b"WEBVTT\n" + b"x" * MAX_TRANSCRIPT_BYTES)
    with pytest.raises(TranscriptTooLargeError):
        lab.fetch()
    assert lab.requests() == 1


def test_times_with_commas_are_kept_and_told(lab: Lab) -> None:
    lab.simulator.faults.add("comma_timestamps")
    document = lab.fetch().document
    assert document is not None
    assert (document.status, document.cues) == ("STORED", 0)
    assert "not one cue that can be read" in str(document.problem)
    assert lab.cut().made.rows == ()
    assert without_cuts(lab.metadata, lab.shelf.table, None) == set()
    (row,) = lab.shelf.table.read().to_dict("records")
    assert row["problem"] == document.problem


def test_clips_are_cut_once_and_anew_when_one_of_them_is_cut_anew(lab: Lab) -> None:
    lab.fetch()
    assert without_cuts(lab.metadata, lab.shelf.table, None) == {lab.session_id}
    lab.cut()
    assert without_cuts(lab.metadata, lab.shelf.table, None) == set()
    base = f"clips/{lab.record.clip_list.study_uuid if lab.record.clip_list else ''}/{lab.session_id}"
    first = lab.files()[f"{base}/{A}.vtt"]
    assert first.splitlines()[2:4] == [b"00:00:00.000 --> 00:00:03.500", b"two &amp; a half"]

    lab.store_clip(A, 5500, 9000, f"{A}/5500-9000")
    assert without_cuts(lab.metadata, lab.shelf.table, None) == {lab.session_id}
    lab.cut()
    assert without_cuts(lab.metadata, lab.shelf.table, None) == set()

    files = lab.files()
    assert files[f"{base}/{A}.vtt"] == first
    assert files[f"{base}/{A}/5500-9000.vtt"] == b"WEBVTT\n\n00:00:00.000 --> 00:00:03.500\nthree\n"
    rows = lab.shelf.clips_table.read().set_index("clip_uuid")
    assert (rows.loc[A, "text"], len(rows)) == ("three", 2)
    assert lab.requests() == 1
