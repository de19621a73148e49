"""Ten requests per client and minute, told in headers on every answer."""

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx


def limits(answer: httpx.Response) -> tuple[int, ...]:
    return tuple(int(answer.headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset"))


def test_headers_count_down_over_all_operations_and_failures(bench: Callable[..., Any]) -> None:
    lab = bench(rate_limit=10)
    session, clip = lab.session_with_clip()
    assert limits(lab.list_sessions()) == (10, 9, 60)
    lab.time.advance(0.5)
    assert limits(lab.list_clips(session.session_id)) == (10, 8, 60)
    lab.time.advance(0.5)
    assert limits(lab.get_clip(clip)) == (10, 7, 59)
    assert limits(lab.list_clips(str(uuid.uuid4()))) == (10, 6, 59)
    assert limits(lab.list_sessions(limit=0)) == (10, 5, 59)


def test_the_eleventh_request_is_429_until_the_window_ends(
    bench: Callable[..., Any], official_headers: Callable[[httpx.Response], None]
) -> None:
    lab = bench(rate_limit=10)
    assert [lab.list_sessions().status_code for _ in range(11)] == [200] * 10 + [429]
    lab.time.advance(59.5)
    refused = lab.list_sessions()
    assert refused.status_code == 429
    assert refused.json()["statusCode"] == 429
    assert limits(refused) == (10, 0, 1)
    official_headers(refused)
    lab.time.advance(0.5)
    assert limits(lab.list_sessions()) == (10, 9, 60)


def test_the_window_begins_with_its_first_request(bench: Callable[..., Any]) -> None:
    lab = bench(rate_limit=10)
    lab.time.advance(45)
    assert limits(lab.list_sessions())[2] == 60
    lab.time.advance(200)
    assert limits(lab.list_sessions()) == (10, 9, 60)


def test_reset_is_in_real_seconds_rounded_up(bench: Callable[..., Any]) -> None:
    lab = bench(rate_limit=10, time_scale=7)
    assert limits(lab.list_sessions()) == (10, 9, 9)
    lab.time.advance(8.6)
    assert limits(lab.list_sessions()) == (10, 9, 9)


def test_tokens_and_media_are_not_counted(bench: Callable[..., Any]) -> None:
    lab = bench(rate_limit=10)
    _, clip = lab.session_with_clip()
    link = lab.link(clip)
    before = limits(lab.list_sessions())[1]
    media = lab.http.get(link)
    lab.token()
    assert "x-ratelimit-limit" not in media.headers
    assert limits(lab.list_sessions())[1] == before - 1


def test_requests_without_a_token_do_not_use_up_the_budget_of_the_client(bench: Callable[..., Any]) -> None:
    lab = bench(rate_limit=2)
    for _ in range(5):
        lab.plain.get(f"{lab.server.url}/api/v2/sessionResults")
    assert limits(lab.list_sessions()) == (2, 1, 60)


def test_concurrent_clients_share_one_budget_exactly(bench: Callable[..., Any]) -> None:
    lab = bench(rate_limit=10)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: lab.list_sessions().status_code, range(40)))
    assert statuses.count(200) == 10
    assert statuses.count(429) == 30
    assert lab.server.requests.count("list_sessions", 200) == 10
    assert lab.server.requests.api_count() == 40


def test_another_process_can_be_simulated(bench: Callable[..., Any]) -> None:
    lab = bench(rate_limit=10)
    lab.server.limiter.spend("demo", 7)
    assert limits(lab.list_sessions())[1] == 2
    lab.server.limiter.spend("demo")
    assert lab.list_sessions().status_code == 429
    lab.server.limiter.reset()
    assert lab.list_sessions().status_code == 200
