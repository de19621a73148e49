"""Faults that HTTP has words for: statuses, bodies that are not what they should be, redirects."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ut_clips_dagster.simulator import Fault, FaultName
from ut_clips_dagster.simulator.faults.names import WIRE_FAULTS


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("bad_request", 400),
        ("unauthorized", 401),
        ("forbidden", 403),
        ("not_found", 404),
        ("rate_limited", 429),
        ("server_error", 500),
        ("server_error:status=502", 502),
        ("server_error:status=503", 503),
    ],
)
def test_status_faults_answer_json_and_all_headers(
    bench: Callable[..., Any], official_headers: Callable[[httpx.Response], None], fault: str, status: int
) -> None:
    lab = bench()
    lab.server.faults.add(fault)
    answer = lab.list_sessions()
    assert answer.status_code == status
    assert answer.json()["statusCode"] == status
    official_headers(answer)


def test_rate_limited_uses_up_the_window(bench: Callable[..., Any]) -> None:
    lab = bench(rate_limit=10)
    lab.server.faults.add("rate_limited:count=1")
    first = lab.list_sessions()
    assert (first.status_code, first.headers["x-ratelimit-remaining"]) == (429, "0")
    assert lab.list_sessions().status_code == 429
    lab.time.advance(60)
    assert lab.list_sessions().status_code == 200


def test_rate_limited_no_headers_has_none_of_them(bench: Callable[..., Any]) -> None:
    lab = bench()
    lab.server.faults.add("rate_limited_no_headers:count=1")
    lab.server.faults.add("rate_limited_no_headers:retry_after_s=7")
    answer = lab.list_sessions()
    assert answer.status_code == 429
    assert not [name for name in answer.headers if name.startswith("x-ratelimit") or name == "retry-after"]
    assert lab.list_sessions().headers["retry-after"] == "7"


def test_media_errors_are_xml(bench: Callable[..., Any]) -> None:
    lab = bench()
    _, clip = lab.session_with_clip()
    link = lab.link(clip)
    lab.server.faults.add("server_error:operation=media,status=503,count=1")
    answer = lab.plain.get(link)
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/xml")
    assert lab.plain.get(link).status_code == 200


def test_token_endpoint_can_fail_too(bench: Callable[..., Any]) -> None:
    lab = bench()
    lab.server.faults.add("server_error:operation=token,count=1")
    assert lab.http.post("/oauth2/token", data={}).status_code == 500
    assert lab.token()


@pytest.mark.parametrize("fault", ["malformed_json", "truncated_json"])
def test_json_that_cannot_be_read_comes_in_a_complete_answer(
    bench: Callable[..., Any], official_headers: Callable[[httpx.Response], None], fault: str
) -> None:
    lab = bench()
    session, _ = lab.session_with_clip()
    lab.server.faults.add(fault)
    for answer in (lab.list_sessions(), lab.list_clips(session.session_id)):
        assert answer.status_code == 200
        assert len(answer.content) == int(answer.headers["content-length"])
        official_headers(answer)
        with pytest.raises(json.JSONDecodeError):
            answer.json()


def test_html_is_a_page_in_place_of_json(bench: Callable[..., Any]) -> None:
    lab = bench()
    lab.server.faults.add("html")
    answer = lab.list_sessions()
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


def test_unknown_fields_are_added_at_every_level(bench: Callable[..., Any]) -> None:
    lab = bench()
    session, _ = lab.session_with_clip()
    plain = lab.list_clips(session.session_id).json()
    lab.server.faults.add("unknown_fields")
    answer = lab.list_clips(session.session_id).json()
    assert "addedInV9" in answer
    assert "addedInV9" in answer["clips"][0]["layout"]
    assert answer["clips"][0]["uuid"] == plain["clips"][0]["uuid"]


def test_unknown_status_has_no_link(bench: Callable[..., Any]) -> None:
    lab = bench()
    _, clip = lab.session_with_clip()
    lab.link(clip)
    lab.server.faults.add("unknown_status:count=1")
    assert lab.get_clip(clip).json() == {"clipUuid": clip.clip_uuid, "status": "QUEUED"}
    assert lab.get_clip(clip).json()["status"] == "GENERATED"


def test_clip_error_fails_as_many_attempts_as_it_counts(bench: Callable[..., Any]) -> None:
    lab = bench(generation_s=8)
    _, clip = lab.session_with_clip()
    lab.server.faults.add(f"clip_error:count=2,clip_uuid={clip.clip_uuid}")
    seen = []
    for _ in range(6):
        seen.append(lab.get_clip(clip).json()["status"])
        lab.time.advance(8)
    assert seen == ["GENERATING", "ERROR", "GENERATING", "ERROR", "GENERATING", "GENERATED"]


def test_never_ready_ends_with_the_fault(bench: Callable[..., Any]) -> None:
    lab = bench()
    _, clip = lab.session_with_clip()
    fault = lab.server.faults.add("never_ready")
    for _ in range(5):
        assert lab.get_clip(clip).json()["status"] == "GENERATING"
        lab.time.advance(600)
    lab.server.faults.remove(fault)
    assert lab.get_clip(clip).json()["status"] == "GENERATED"


def test_expired_link_is_issued_expired(bench: Callable[..., Any]) -> None:
    lab = bench()
    _, clip = lab.session_with_clip()
    lab.server.faults.add("expired_link:count=1")
    assert "Request has expired" in lab.plain.get(lab.link(clip)).text
    assert lab.plain.get(lab.get_clip(clip).json()["clipUrl"]).status_code == 200


def test_redirect_leads_to_the_same_bytes(bench: Callable[..., Any]) -> None:
    lab = bench()
    _, clip = lab.session_with_clip()
    link = lab.link(clip)
    direct = lab.plain.get(link).content
    lab.server.faults.add("redirect")
    answer = lab.plain.get(link)
    assert answer.status_code == 307
    assert answer.next_request is not None
    assert answer.next_request.url.path.startswith("/media/moved/")
    assert lab.plain.get(link, follow_redirects=True).content == direct


def test_redirect_private_leads_to_a_metadata_server(bench: Callable[..., Any]) -> None:
    lab = bench()
    _, clip = lab.session_with_clip()
    lab.server.faults.add("redirect_private")
    answer = lab.plain.get(lab.link(clip))
    assert (answer.status_code, answer.next_request.url.host) == (307, "169.254.169.254")


def test_empty_body_and_wrong_content_type(bench: Callable[..., Any]) -> None:
    lab = bench()
    _, clip = lab.session_with_clip()
    link = lab.link(clip)
    plain = lab.plain.get(link)
    lab.server.faults.add("empty_body:count=1")
    empty = lab.plain.get(link)
    assert (empty.status_code, empty.headers["content-length"], empty.content) == (200, "0", b"")
    lab.server.faults.add("wrong_content_type")
    wrong = lab.plain.get(link)
    assert wrong.headers["content-type"].startswith("text/html")
    assert wrong.content == plain.content


def test_selectors_choose_session_clip_and_operation(bench: Callable[..., Any]) -> None:
    lab = bench()
    session, clip = lab.session_with_clip()
    other, other_clip = lab.session_with_clip()
    lab.server.faults.add(Fault(name=FaultName.SERVER_ERROR, session_id=session.session_id))
    lab.server.faults.add(Fault(name=FaultName.NOT_FOUND, clip_uuid=other_clip.clip_uuid))
    assert lab.list_clips(session.session_id).status_code == 500
    assert lab.get_clip(clip).status_code == 500
    assert lab.list_clips(other.session_id).status_code == 200
    assert lab.get_clip(other_clip).status_code == 404
    assert lab.list_sessions().status_code == 200


def test_skip_and_count_choose_the_requests(bench: Callable[..., Any]) -> None:
    lab = bench()
    lab.server.faults.add("server_error:operation=list_sessions,skip=2,count=2")
    assert [lab.list_sessions().status_code for _ in range(6)] == [200, 200, 500, 500, 200, 200]


def test_probability_is_repeatable(bench: Callable[..., Any]) -> None:
    runs = []
    for _ in range(2):
        lab = bench()
        lab.server.faults.add("server_error:probability=0.5,seed=3")
        runs.append([lab.list_sessions().status_code for _ in range(20)])
    assert runs[0] == runs[1]
    assert {200, 500} == set(runs[0])


@pytest.mark.parametrize(
    "text", ["", "nothing", "reset:count=0", "reset:when=now", "server_error:status=404", "reset:count"]
)
def test_strings_that_name_no_fault_are_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="not a fault"):
        Fault.parse(text)


def test_strings_name_faults_and_selectors() -> None:
    parsed = Fault.parse(" server_error:operation=get_clip, count=2 ")
    assert (parsed.name, parsed.operation, parsed.count) == (FaultName.SERVER_ERROR, "get_clip", 2)


def test_every_fault_is_described_and_has_an_operation() -> None:
    for name in FaultName:
        assert name.describe()
        assert name.default_operations()


def test_the_log_names_the_fault(bench: Callable[..., Any]) -> None:
    lab = bench()
    for name in WIRE_FAULTS - {FaultName.STALL}:
        lab.server.faults.clear()
        lab.server.requests.clear()
        lab.server.limiter.reset()
        lab.server.faults.add(Fault(name=name, operation="list_sessions", count=1, delay_s=0))
        try:
            with lab.http.stream("GET", "/api/v2/sessionResults"):
                pass
        except httpx.HTTPError:
            pass
        assert [entry.fault for entry in lab.server.requests.entries()] == [name]
