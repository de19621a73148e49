"""What the wire may say: liberal where the sense is plain, strict where it is not."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ut_clips_dagster.results_api.decoding import decode_json
from ut_clips_dagster.results_api.models import Clip, ClipDetails, ClipListing, ClipStatus, SessionPage

A, B, STUDY = (f"00000000-0000-4000-8000-00000000000{number}" for number in "abc")
NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


def clip(**changes: Any) -> dict[str, Any]:
    told = {
        "uuid": A,
        "name": "Too long",
        "timeStartMs": 0,
        "timeEndMs": 1000,
        "videoUuid": B,
        "hasAudio": True,
        "hasCamera": False,
    }
    return {name: value for name, value in {**told, **changes}.items() if value is not ...}


def listing(*clips: Any) -> ClipListing:
    return ClipListing.model_validate({"studyUuid": STUDY, "clips": list(clips)})


def session(**changes: Any) -> dict[str, Any]:
    told = {"sessionId": A, "status": "COMPLETE", "startTime": "2026-11-24T12:00:00Z", "finishTime": None}
    return {name: value for name, value in {**told, **changes}.items() if value is not ...}


def page(*sessions: Any, total: Any = 1, **envelope: Any) -> SessionPage:
    meta = {"pagination": {"limit": 500, "offset": 0, "totalCount": total}}
    return SessionPage.model_validate({"testId": STUDY, "sessions": list(sessions), "meta": meta, **envelope})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_byte_order_mark_and_other_encodings_of_unicode_are_read(encoding: str) -> None:
    assert decode_json(json.dumps({"name": "Zoë"}, ensure_ascii=False).encode(encoding)) == {"name": "Zoë"}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"<html>", b'{"a": 1} {"b": 2}'])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each says something else
        decode_json(body)


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"timeEndMs": "1500"}, "time_end_ms", 1500),
        ({"timeEndMs": " 1500.4 "}, "time_end_ms", 1500),
        ({"timeEndMs": 1500.6}, "time_end_ms", 1501),
        ({"timeEndMs": 2**63 - 1}, "time_end_ms", 2**63 - 1),
        ({"hasAudio": " TRUE"}, "has_audio", True),
        ({"hasAudio": "false"}, "has_audio", False),
        ({"uuid": A.upper()}, "uuid", A),
        ({"name": 42}, "name", "42"),
        ({"name": "cut off \ud83d"}, "name", "cut off \ufffd"),
        ({"description": None}, "description", None),
        ({"layout": None}, "layout", None),
    ],
)
def test_a_clip_is_understood_where_the_sense_is_plain(changes: dict[str, Any], field: str, value: object) -> None:
    (found,) = listing(clip(**changes)).clips
    assert getattr(found, field) == value


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"uuid": "no UUID"}, "'no UUID' is not a UUID"),
        ({"uuid": ...}, "uuid: Field required"),
        ({"name": None}, "name: Input should be a valid string, and is null"),
        ({"name": True}, "name: Input should be a valid string"),
        ({"name": "x" * 10_001}, "name: String should have at most 10000 characters"),
        ({"timeEndMs": None}, "timeEndMs: Input should be a valid integer"),
        ({"timeEndMs": True}, "timeEndMs: a truth value is no number"),
        ({"timeEndMs": "soon"}, "timeEndMs: 'soon' is no number"),
        ({"timeEndMs": 2**63}, "timeEndMs: the number is beyond what 64 bits hold"),
        ({"timeEndMs": "9" * 5000}, "timeEndMs: the number is not finite"),
        ({"timeEndMs": float("nan")}, "timeEndMs: the number is not finite"),
        ({"timeStartMs": -1}, "timeStartMs: Input should be greater than or equal to 0"),
        ({"timeStartMs": 1001}, "timeEndMs is before timeStartMs"),
        ({"hasAudio": None}, "hasAudio: Input should be a valid boolean"),
        ({"hasAudio": 2}, "hasAudio: Input should be a valid boolean"),
        ({"videoUuid": ...}, "videoUuid: Field required"),
        ({"layout": {"mainStream": "SCREEN"}}, "layout.pipPosition: Field required"),
    ],
)
def test_a_malformed_clip_is_set_aside_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    found = listing(clip(uuid=B), clip(**changes))

    assert [each.uuid for each in found.clips] == [B]
    (malformed,) = found.malformed
    assert reason in malformed.reason
    assert malformed.uuid == (None if "uuid" in changes else A)
    assert ("entry 2" if "uuid" in changes else A) in malformed.reason


def test_entries_that_are_no_objects_are_counted_each() -> None:
    found = listing(None, "x", 5, [], clip())
    assert (len(found.clips), len(found.malformed)) == (1, 4)


def test_two_entries_of_one_id_are_one_when_alike_and_none_when_not() -> None:
    assert [c.uuid for c in listing(clip(), clip()).clips] == [A]
    for entries in ([clip(), clip(timeEndMs=2000)], [clip(), clip(name=None)], [clip(name=None), clip()]):
        found = listing(*entries, clip(uuid=B))
        assert [c.uuid for c in found.clips] == [B]
        assert [m.uuid for m in found.malformed] == [A]


def test_the_answer_cannot_say_itself_what_is_malformed() -> None:
    told = ClipListing.model_validate(
        {"studyUuid": STUDY, "clips": [clip()], "malformed": [{"uuid": A, "reason": "x"}]}
    )
    assert told.malformed == ()


@pytest.mark.parametrize(
    ("told", "at"),
    [
        ("2026-11-24T12:00Z", NOON),
        ("2026-11-24T14:00:00+02:00", NOON),
        ("2026-11-24 12:00:00.000z", NOON),
        (" 2026-11-24T12:00:00Z ", NOON),
        (int(NOON.timestamp()), NOON),
        (int(NOON.timestamp() * 1000), NOON),
        (str(int(NOON.timestamp() * 1000)), NOON),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=timezone.utc)),
    ],
)
def test_a_time_is_understood_with_its_zone_or_as_unix_time(told: object, at: datetime) -> None:
    assert page(session(startTime=told)).sessions[0].start_time == at


@pytest.mark.parametrize(
    "changes",
    [
        {"startTime": None},
        {"startTime": "2026-11-24T12:00:00"},
        {"startTime": "2026-11-24"},
        {"startTime": "0001-01-01T00:00:00+14:00"},
        {"startTime": "9999-12-31T23:59:59-14:00"},
        {"startTime": float("inf")},
        {"startTime": []},
        {"finishTime": "yesterday"},
        {"sessionId": "../../etc"},
        {"sessionId": None},
        {"status": ...},
        {"status": {}},
        {"status": "x" * 201},
    ],
)
def test_a_malformed_session_does_not_hide_the_others(changes: dict[str, Any]) -> None:
    found = page(session(**changes), session(sessionId=B), total=2)

    assert [each.session_id for each in found.sessions] == [B]
    assert len(found.malformed) == 1
    assert (found.entries, found.is_last(0)) == (2, True)


@pytest.mark.parametrize("total", [None, -1, 0, "many", float("nan"), 10**30, [], True])
def test_a_total_that_makes_no_sense_leaves_the_end_to_an_empty_page(total: object) -> None:
    assert not page(session(), total=total).is_last(0)
    assert page(total=total).is_last(1)


def test_of_the_envelope_only_the_list_is_needed() -> None:
    assert page(session(), meta=None, testId=17, more={"x": 1}).sessions
    assert SessionPage.model_validate({"sessions": [session()]}).sessions
    assert page(session(), total="1").is_last(0)


@pytest.mark.parametrize("status", ["generating", " Generating ", "GENERATING"])
def test_a_status_in_other_letters_is_the_same(status: str) -> None:
    assert ClipDetails.model_validate({"clipUuid": A, "status": status}).status is ClipStatus.GENERATING


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None)
@given(st.sampled_from(sorted(clip(description="", layout=None))), json_values)
def test_whatever_a_clip_holds_the_other_is_understood_and_none_is_lost(field: str, value: object) -> None:
    found = listing(clip(**{field: value}), clip(uuid=B))

    assert B in [each.uuid for each in found.clips]
    assert len(found.clips) + len(found.malformed) == 2
    assert all(isinstance(each, Clip) and uuid.UUID(each.uuid) for each in found.clips)
    assert all(-(2**63) <= each.time_end_ms < 2**63 for each in found.clips)


@settings(deadline=None)
@given(st.sampled_from(sorted(session())), json_values)
def test_whatever_a_session_holds_the_other_is_found_and_none_is_lost(field: str, value: object) -> None:
    found = page(session(**{field: value}), session(sessionId=B))

    assert B in [each.session_id for each in found.sessions]
    assert found.entries == 2
    assert all(each.start_time.utcoffset() is not None for each in found.sessions)
