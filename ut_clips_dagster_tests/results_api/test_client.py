"""The client of the Results API: what it asks, what it hands out, what it retries, and how it fails."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timezone
from typing import Any

import httpx
import pytest

from ut_clips_dagster.errors import (
    ApiUnavailableError,
    AuthenticationError,
    BadRequestError,
    BudgetExhaustedError,
    ForbiddenError,
    InvalidAnswerError,
    NotFoundError,
    ResultsApiError,
)
from ut_clips_dagster.results_api.models import ClipStatus
from ut_clips_dagster.results_api.pacing import Operation, Pacer

Lab = Any
Start = Callable[..., Lab]
ATTEMPTS = 5


def test_sessions_come_by_the_page_newest_first(lab: Start) -> None:
    bench = lab(sessions=7)
    api = bench.api()
    first, second = api.list_sessions(bench.test_id, limit=5), api.list_sessions(bench.test_id, offset=5, limit=5)
    assert (len(first.sessions), len(second.sessions)) == (5, 2)
    assert first.meta.pagination.total_count == 7
    ids = [session.session_id for session in (*first.sessions, *second.sessions)]
    assert ids == [session.session_id for session in bench.server.world.sessions(bench.test_id)]
    assert first.sessions[0].start_time.tzinfo is timezone.utc
    queries = [entry.query for entry in bench.server.requests.entries("list_sessions")]
    assert queries == [f"testId={bench.test_id}&limit=5&offset={offset}" for offset in (0, 5)]


def test_the_largest_page_is_asked_for_by_default(lab: Start) -> None:
    bench = lab()
    bench.api().list_sessions(bench.test_id)
    assert "limit=500&offset=0" in bench.server.requests.entries("list_sessions")[0].query


def test_clips_are_listed_with_all_their_fields(lab: Start) -> None:
    bench = lab()
    clip = bench.clip
    listing = bench.api().list_clips(clip.session_id)
    session = bench.server.world.session(clip.session_id)
    found = next(each for each in listing.clips if each.uuid == clip.clip_uuid)
    assert listing.study_uuid == session.test_id
    assert (found.name, found.description) == (clip.name, clip.description)
    assert (found.time_start_ms, found.time_end_ms) == (clip.time_start_ms, clip.time_end_ms)
    assert (found.has_audio, found.has_camera, found.video_uuid) == (True, clip.has_camera, session.video_uuid)
    assert found.layout is not None
    assert found.layout.main_stream == clip.layout.main_stream


def test_a_session_without_clips_has_an_empty_list(lab: Start) -> None:
    bench = lab()
    session = bench.server.world.add_session(clips=0)
    assert bench.api().list_clips(session.session_id).clips == ()


def test_the_first_request_of_a_clip_starts_it_and_a_later_one_gives_the_link(lab: Start) -> None:
    bench = lab()
    api, clip = bench.api(), bench.clip
    first = api.request_clip(clip.session_id, clip.clip_uuid)
    assert (first.status, first.clip_url) == (ClipStatus.GENERATING, None)
    bench.time.sleep(3)
    second = api.request_clip(clip.session_id, clip.clip_uuid)
    assert second.status is ClipStatus.GENERATED
    assert second.clip_url is not None
    assert second.clip_url.get_secret_value().startswith(bench.server.url)
    assert second.clip_url.get_secret_value() not in repr(second) + str(second)


def test_answers_are_frozen(lab: Start) -> None:
    bench = lab()
    listing = bench.api().list_clips(bench.clip.session_id)
    with pytest.raises(ValueError, match="frozen"):
        listing.study_uuid = "other"


def test_one_token_serves_all_requests(lab: Start) -> None:
    bench = lab()
    api = bench.api()
    for _ in range(5):
        api.list_sessions(bench.test_id)
    assert bench.server.requests.count("token") == 1
    assert {entry.client_id for entry in bench.server.requests.entries("list_sessions")} == {"demo"}


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("bad_request", BadRequestError, "400 for the sessions of test"),
        ("forbidden", ForbiddenError, "ask for access"),
        ("not_found", NotFoundError, "unknown, deleted, or of a product without video.*USERTESTING_TEST_IDS"),
    ],
)
def test_what_cannot_pass_is_asked_once(lab: Start, fault: str, error: type[ResultsApiError], says: str) -> None:
    bench = lab()
    bench.server.faults.add(fault)
    with pytest.raises(error, match=says):
        bench.api().list_sessions(bench.test_id)
    assert bench.server.requests.count("list_sessions") == 1
    assert bench.waits == []


def test_unknown_ids_are_not_found(lab: Start) -> None:
    bench = lab()
    api = bench.api()
    for ask in (
        lambda: api.list_sessions(str(uuid.uuid4())),
        lambda: api.list_clips(str(uuid.uuid4())),
        lambda: api.request_clip(bench.clip.session_id, str(uuid.uuid4())),
    ):
        with pytest.raises(NotFoundError):
            ask()


def test_a_401_renews_the_token_and_repeats_once(lab: Start) -> None:
    bench = lab()
    bench.server.faults.add("unauthorized:count=1")
    assert bench.api().list_sessions(bench.test_id).sessions
    assert bench.server.requests.count("token") == 2
    assert bench.server.requests.count("list_sessions") == 2
    assert bench.waits == []


def test_a_second_401_is_final(lab: Start) -> None:
    bench = lab()
    bench.server.faults.add("unauthorized")
    with pytest.raises(AuthenticationError, match="refused twice"):
        bench.api().list_sessions(bench.test_id)
    assert bench.server.requests.count("token") == 2
    assert bench.server.requests.count("list_sessions") == 2


PASSING = ["server_error", "server_error:status=503", "malformed_json", "truncated_json", "html", "reset", "stall"]


@pytest.mark.parametrize("fault", PASSING)
def test_what_may_pass_is_retried_four_times(lab: Start, fault: str) -> None:
    bench = lab()
    separator = "," if ":" in fault else ":"
    bench.server.faults.add(f"{fault}{separator}operation=list_sessions,count=4")
    assert bench.api().list_sessions(bench.test_id).sessions
    assert bench.server.requests.count("list_sessions") == ATTEMPTS
    assert len(bench.waits) == 4
    assert all(0 <= wait <= 8 for wait in bench.waits)


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("server_error", ApiUnavailableError, "answered 500 for the sessions of test"),
        ("malformed_json", InvalidAnswerError, "is not what its document says"),
        ("truncated_json", InvalidAnswerError, "is not what its document says"),
        ("html", InvalidAnswerError, "is not what its document says"),
        ("reset", ApiUnavailableError, "cannot be reached"),
        ("stall", ApiUnavailableError, "ReadTimeout"),
    ],
)
def test_what_stays_fails_after_five_attempts(lab: Start, fault: str, error: type[ResultsApiError], says: str) -> None:
    bench = lab()
    bench.server.faults.add(f"{fault}:operation=list_sessions")
    with pytest.raises(error, match=says):
        bench.api().list_sessions(bench.test_id)
    assert bench.server.requests.count("list_sessions") == ATTEMPTS
    assert len(bench.waits) == 4


def test_an_unknown_status_is_retried_and_then_named(lab: Start) -> None:
    bench = lab()
    bench.server.faults.add("unknown_status")
    with pytest.raises(InvalidAnswerError, match="status: Input should be"):
        bench.api().request_clip(bench.clip.session_id, bench.clip.clip_uuid)
    assert bench.server.requests.count("get_clip") == ATTEMPTS


def test_unknown_fields_do_no_harm(lab: Start) -> None:
    bench = lab()
    api = bench.api()
    expected = api.list_clips(bench.clip.session_id)
    bench.server.faults.add("unknown_fields")
    assert api.list_clips(bench.clip.session_id) == expected
    assert api.list_sessions(bench.test_id).sessions
    assert bench.waits == []


@pytest.mark.parametrize(
    "fault", ["rate_limited", "rate_limited_no_headers", "rate_limited_no_headers:retry_after_s=3"]
)
def test_a_429_waits_and_goes_on_without_using_up_retries(lab: Start, fault: str) -> None:
    bench = lab()
    separator = "," if ":" in fault else ":"
    bench.server.faults.add(f"{fault}{separator}count=6")
    began = bench.time.clock()
    assert bench.api().list_sessions(bench.test_id).sessions
    assert bench.server.requests.count("list_sessions") == 7
    assert bench.waits == []
    assert bench.time.clock() - began > 6 * 3


def test_a_429_that_stays_ends_after_a_quarter_of_an_hour(lab: Start) -> None:
    bench = lab()
    bench.server.faults.add("rate_limited_no_headers")
    began = bench.time.clock()
    with pytest.raises(BudgetExhaustedError, match="request budget"):
        bench.api().list_sessions(bench.test_id)
    assert 800 <= bench.time.clock() - began < 1000


def test_a_client_that_may_not_wait_says_that_the_budget_is_used_up(lab: Start) -> None:
    bench = lab(rate_limit=2)
    api = bench.api(pacer=Pacer(waiting=False))
    api.list_sessions(bench.test_id)
    api.list_sessions(bench.test_id)
    with pytest.raises(BudgetExhaustedError):
        api.list_sessions(bench.test_id)
    assert bench.server.requests.api_count() == 2


def test_retries_are_paced_too(lab: Start) -> None:
    bench = lab(rate_limit=2)
    bench.server.faults.add("server_error:count=4")
    began = bench.time.clock()
    bench.api().list_sessions(bench.test_id)
    assert bench.server.requests.count("list_sessions", 429) == 0
    assert bench.time.clock() - began > 100


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://nobody.invalid"])
def test_an_api_that_cannot_be_reached_is_named(lab: Start, url: str) -> None:
    bench = lab()
    api = bench.api(api_url=url)
    with pytest.raises(ApiUnavailableError, match=f"{url}.* cannot be reached .*ConnectError"):
        api.list_sessions(bench.test_id)
    assert api.pacer.requests_sent == ATTEMPTS


class Scripted(httpx.BaseTransport):
    """Answers that no simulator gives."""

    def __init__(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.answer = (status, body, {name.replace("_", "-"): value for name, value in headers.items()})
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        status, body, headers = self.answer
        return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


def test_a_redirect_is_not_followed(lab: Start) -> None:
    """The token would go along."""
    bench = lab()
    transport = Scripted(307, location="https://elsewhere.example/")
    with pytest.raises(InvalidAnswerError, match="307"):
        bench.api(transport=transport).list_sessions(bench.test_id)
    assert {request.url.host for request in transport.requests} == {"127.0.0.1"}


def test_a_body_that_cannot_be_decoded_is_retried(lab: Start) -> None:
    bench = lab()
    transport = Scripted(200, b"no gzip", content_encoding="gzip")
    with pytest.raises(InvalidAnswerError, match="cannot be decoded"):
        bench.api(transport=transport).list_sessions(bench.test_id)
    assert len(transport.requests) == ATTEMPTS


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"studyUuid": "../../etc", "clips": []}',
        b'{"studyUuid": "3fa85f64-5717-4562-b3fc-2c963f66afa6", "clips": null}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_an_answer_that_is_no_listing_is_refused(lab: Start, body: bytes) -> None:
    bench = lab()
    transport = Scripted(200, body)
    with pytest.raises(InvalidAnswerError):
        bench.api(transport=transport).list_clips(bench.clip.session_id)


def test_where_the_api_counts_each_operation_lists_do_not_wait_for_the_clips(lab: Start) -> None:
    bench = lab(rate_limit_per_operation=True)
    api, clip = bench.api(), bench.clip
    for _ in range(10):
        api.request_clip(clip.session_id, clip.clip_uuid)
    assert api.pacer.delay_s(Operation.LIST_CLIPS) > 0, "nothing told yet that they are counted apart"
    bench.time.sleep(60)
    for _ in range(8):
        api.request_clip(clip.session_id, clip.clip_uuid)
    api.list_clips(clip.session_id)
    begun = bench.time.clock()
    api.request_clip(clip.session_id, clip.clip_uuid)
    for _ in range(9):
        api.list_clips(clip.session_id)
    assert bench.time.clock() - begun < 30
    assert bench.server.requests.count(status=429) == 0
    assert bench.server.requests.api_count() == 29


class TestTranscript:
    """The fourth operation: WebVTT instead of JSON, as the document names two types for it."""

    def test_it_comes_as_the_api_sent_it(self, lab: Start) -> None:
        bench = lab()
        session = bench.server.world.sessions()[0].session_id
        bench.server.world.set_transcript(session, b"\xef\xbb\xbfWEBVTT\r\n\r\n00:01.000 --> 00:02.000\r\nhi\xff\r\n")
        assert bench.api().get_transcript(session) == bench.server.world.transcript(session)
        assert bench.server.requests.api_count() == 1

    def test_a_session_without_one_is_not_found_and_not_asked_twice(self, lab: Start) -> None:
        bench = lab()
        session = bench.server.world.add_session(has_transcript=False).session_id
        with pytest.raises(NotFoundError, match=f"404 for the transcript of session {session}"):
            bench.api().get_transcript(session)
        assert bench.server.requests.api_count() == 1

    def test_a_body_whose_pieces_come_in_time_and_never_the_last_is_given_up(self, lab: Start) -> None:
        bench = lab()
        session = bench.server.world.sessions()[0].session_id
        bench.server.faults.add("slow_body:operation=get_transcript,delay_s=0")
        late = Pacer(clock=iter(range(0, 10**9, 200)).__next__, sleep=lambda _: None)
        with pytest.raises(ApiUnavailableError, match="its body does not end"):
            bench.api(pacer=late).get_transcript(session)

    @pytest.mark.parametrize("fault", ["short_body", "chunked_cut", "reset"])
    def test_a_body_that_breaks_off_is_asked_for_again(self, lab: Start, fault: str) -> None:
        bench = lab()
        session = bench.server.world.sessions()[0].session_id
        bench.server.world.set_transcript(session, b"WEBVTT\n" * 1000)
        bench.server.faults.add(f"{fault}:operation=get_transcript,count=2")
        assert bench.api().get_transcript(session) == b"WEBVTT\n" * 1000
        assert bench.server.requests.count("get_transcript") == 3
