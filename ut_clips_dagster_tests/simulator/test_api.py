"""The four operations say what the official document says that they do."""

import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from webvtt import WebVTT

from ut_clips_dagster.simulator import DEMO_TEST_ID


def test_session_list_conforms_to_the_official_schema(
    bench: Callable[..., Any], conforms: Callable[[Any, str], None], official_headers: Callable[[httpx.Response], None]
) -> None:
    answer = bench(sessions=30).list_sessions()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    conforms(answer.json(), "SessionSummaryResultsResponseDto")
    official_headers(answer)
    assert answer.json()["meta"]["pagination"] == {"limit": 25, "offset": 0, "totalCount": 30}


def test_clip_list_conforms_to_the_official_schema(
    bench: Callable[..., Any], conforms: Callable[[Any, str], None], official_headers: Callable[[httpx.Response], None]
) -> None:
    lab = bench(sessions=6, clips_total=30)
    sessions = lab.server.world.sessions()
    assert len(sessions) == 6
    for session in sessions:
        answer = lab.list_clips(session.session_id)
        conforms(answer.json(), "ClipsResponseDto")
        official_headers(answer)
        assert answer.json()["studyUuid"] == DEMO_TEST_ID
        assert ("camera" in answer.json()["videoRegions"]) == session.has_camera


def test_clip_details_conform_in_every_status(
    bench: Callable[..., Any], conforms: Callable[[Any, str], None], official_headers: Callable[[httpx.Response], None]
) -> None:
    lab = bench(generation_s=8, faults=[{"name": "clip_error", "count": 1}])
    _, clip = lab.session_with_clip()
    seen = []
    for _ in range(4):
        answer = lab.get_clip(clip)
        conforms(answer.json(), "ClipDetailsResponseDto")
        official_headers(answer)
        seen.append(answer.json()["status"])
        assert ("clipUrl" in answer.json()) == (seen[-1] == "GENERATED")
        lab.time.advance(8)
    assert seen == ["GENERATING", "ERROR", "GENERATING", "GENERATED"]


def test_own_document_has_the_official_operations_parameters_and_fields(
    bench: Callable[..., Any], official: Any
) -> None:
    own = bench().http.get("/openapi.json").json()
    for path, operations in official["paths"].items():
        theirs, ours = operations["get"], own["paths"][path]["get"]
        assert ours["operationId"] == theirs["operationId"]
        for expected in theirs["parameters"]:
            found = next(each for each in ours["parameters"] if each["name"] == expected["name"])
            assert (found["in"], found["required"]) == (expected["in"], expected["required"])
            for rule in ("minimum", "maximum", "default", "format"):
                assert found["schema"].get(rule) == expected["schema"].get(rule)
    for name, schema in official["components"]["schemas"].items():
        if "properties" in schema:
            assert set(own["components"]["schemas"][name]["properties"]) == set(schema["properties"])


def test_pages_cover_all_sessions_once_newest_first(bench: Callable[..., Any]) -> None:
    lab = bench(sessions=23)
    pages = [lab.list_sessions(limit=10, offset=offset).json()["sessions"] for offset in (0, 10, 20, 30)]
    assert [len(page) for page in pages] == [10, 10, 3, 0]
    sessions = [session for page in pages for session in page]
    assert len({session["sessionId"] for session in sessions}) == 23
    finished = [session["finishTime"] for session in sessions]
    assert finished == sorted(finished, reverse=True)


def test_sessions_under_way_are_not_listed(bench: Callable[..., Any]) -> None:
    lab = bench(sessions=0)
    lab.server.world.add_session(status="IN_PROGRESS")
    done = lab.server.world.add_session()
    assert [session["sessionId"] for session in lab.list_sessions().json()["sessions"]] == [done.session_id]


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"testId": "x"}, "testId"),
        ({"testId": DEMO_TEST_ID.replace("-", "")}, "testId"),
        ({"limit": 0}, "limit"),
        ({"limit": 501}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"offset": -1}, "offset"),
        ({"offset": 10_001}, "offset"),
    ],
)
def test_bad_parameters_are_400_and_named(
    bench: Callable[..., Any], official_headers: Callable[[httpx.Response], None], params: dict[str, Any], named: str
) -> None:
    answer = bench().list_sessions(**params)
    assert answer.status_code == 400
    assert answer.json()["error"] == "Bad Request"
    assert any(message.startswith(named) for message in answer.json()["message"])
    official_headers(answer)


def test_limits_of_the_parameters_are_allowed(bench: Callable[..., Any]) -> None:
    lab = bench()
    assert lab.list_sessions(limit=500, offset=10_000).json()["sessions"] == []
    assert len(lab.list_sessions(limit=1, offset=0).json()["sessions"]) == 1


def test_no_test_id_is_400_and_ids_that_are_no_uuid_are_400(bench: Callable[..., Any]) -> None:
    lab = bench()
    assert lab.http.get("/api/v2/sessionResults").status_code == 400
    assert lab.list_clips("not-a-uuid").status_code == 400
    assert lab.http.get(f"/api/v2/sessionResults/{uuid.uuid4()}/clips/x").status_code == 400


def test_what_there_is_not_is_404(
    bench: Callable[..., Any], official_headers: Callable[[httpx.Response], None]
) -> None:
    lab = bench()
    session, clip = lab.session_with_clip()
    silent = lab.server.world.add_session(has_video=False)
    lab.server.world.delete_clip(session.session_id, clip.clip_uuid)
    answers = [
        lab.list_sessions(testId=str(uuid.uuid4())),
        lab.list_clips(str(uuid.uuid4())),
        lab.list_clips(silent.session_id),
        lab.get_clip(clip),
    ]
    for answer in answers:
        assert answer.status_code == 404
        assert answer.json()["statusCode"] == 404
        official_headers(answer)


def test_session_without_clips_has_an_empty_list(bench: Callable[..., Any]) -> None:
    lab = bench()
    assert lab.list_clips(lab.server.world.add_session().session_id).json()["clips"] == []


def test_transcript_is_web_vtt_within_the_session_and_the_same_each_time(
    bench: Callable[..., Any], official: Any, official_headers: Callable[[httpx.Response], None]
) -> None:
    lab = bench()
    session = lab.server.world.add_session()
    path = f"/api/v2/sessionResults/{session.session_id}/transcript"
    answer = lab.http.get(path)
    documented = official["paths"]["/api/v2/sessionResults/{sessionId}/transcript"]["get"]["responses"]
    assert answer.headers["content-type"] == "text/vtt; charset=utf-8"
    assert list(documented["200"]["content"]) == ["text/vtt"]
    assert {"accept-ranges", "x-ratelimit-remaining"} <= set(answer.headers)
    official_headers(answer)
    cues = WebVTT.from_string(answer.text).captions
    length_s = (session.finished_at - session.started_at).total_seconds()
    assert len(cues) > 10
    assert all(0 <= c.start_in_seconds <= c.end_in_seconds <= length_s and c.voice for c in cues)
    assert lab.http.get(path).content == answer.content
    assert lab.server.requests.api_count() == 2


def test_session_of_a_product_without_transcripts_answers_404(bench: Callable[..., Any]) -> None:
    lab = bench(sessions=60)
    without = [lab.server.world.add_session(has_transcript=False), lab.server.world.add_session(has_video=False)]
    answers = [lab.http.get(f"/api/v2/sessionResults/{s.session_id}/transcript") for s in without]
    answers.append(lab.http.get(f"/api/v2/sessionResults/{uuid.uuid4()}/transcript"))
    assert [(a.status_code, a.json()["message"]) for a in answers] == [(404, "Transcript not found.")] * 3
    drawn = [s.has_transcript for s in lab.server.world.sessions()[2:]]
    assert 0 < drawn.count(False) < drawn.count(True)


@pytest.mark.parametrize(("fault", "begins"), [("comma_timestamps", "WEBVTT"), ("json_string", '"WEBVTT\\n')])
def test_transcripts_come_in_forms_that_the_document_does_not_name(
    bench: Callable[..., Any], fault: str, begins: str
) -> None:
    lab = bench(faults=[{"name": fault}])
    session = lab.server.world.add_session()
    answer = lab.http.get(f"/api/v2/sessionResults/{session.session_id}/transcript")
    assert answer.text.startswith(begins)
    assert (",000" in answer.text or "," in answer.text.split("-->")[0]) == (fault == "comma_timestamps")


def test_transcript_is_set_by_hand(bench: Callable[..., Any]) -> None:
    lab = bench()
    session = lab.server.world.add_session()
    path = f"/api/v2/sessionResults/{session.session_id}/transcript"
    lab.http.put(f"/_simulator/sessions/{session.session_id}/transcript", json={"text": "WEBVTT\n"})
    assert lab.http.get(path).content == b"WEBVTT\n"
    lab.http.put(f"/_simulator/sessions/{session.session_id}/transcript", json={"text": None})
    assert lab.http.get(path).status_code == 404


def test_ids_in_upper_case_are_understood_and_answered_in_lower_case(bench: Callable[..., Any]) -> None:
    lab = bench()
    assert lab.list_sessions(testId=DEMO_TEST_ID.upper()).json()["testId"] == DEMO_TEST_ID
    session, _ = lab.session_with_clip()
    assert len(lab.list_clips(session.session_id.upper()).json()["clips"]) == 1


def test_generation_starts_with_the_first_request_only(bench: Callable[..., Any]) -> None:
    lab = bench(generation_s=8)
    session, clip = lab.session_with_clip()
    lab.list_clips(session.session_id)
    lab.time.advance(100)
    assert lab.get_clip(clip).json()["status"] == "GENERATING"
    lab.time.advance(7.9)
    assert lab.get_clip(clip).json()["status"] == "GENERATING"
    lab.time.advance(0.2)
    assert lab.get_clip(clip).json()["status"] == "GENERATED"


def test_time_scale_makes_generation_faster(bench: Callable[..., Any]) -> None:
    lab = bench(generation_s=8, time_scale=100)
    _, clip = lab.session_with_clip()
    lab.get_clip(clip)
    lab.time.advance(0.081)
    assert lab.get_clip(clip).json()["status"] == "GENERATED"


def test_every_request_for_a_generated_clip_gives_another_link(bench: Callable[..., Any]) -> None:
    lab = bench()
    _, clip = lab.session_with_clip()
    first = lab.link(clip)
    lab.time.advance(1)
    assert lab.get_clip(clip).json()["clipUrl"] != first
    assert first.startswith(lab.server.url)
