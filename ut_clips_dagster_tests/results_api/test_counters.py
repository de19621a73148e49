"""Counters in whatever unit they are told; an absurd one is as good as not told."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ut_clips_dagster.results_api.counters import LONGEST_WAIT_S, MOST_REQUESTS, Counters
from ut_clips_dagster.results_api.window import Told, Window

NOW = 1_732_191_832.0
DATE = "Thu, 21 Nov 2024 12:23:52 GMT"


def counters(**headers: str) -> Counters:
    return Counters.of({name.replace("_", "-"): value for name, value in headers.items()}, NOW)


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("42", 42),
        ("0", 0),
        ("41.5", 41.5),
        ("-3", 0),
        ("42;w=60", 42),
        ("42000", 42),
        (str(int(NOW) + 42), 42),
        (str((int(NOW) + 42) * 1000), 42),
        (str(int(NOW) - 5), 0),
        ("Thu, 21 Nov 2024 12:24:34 GMT", 42),
        *[(text, None) for text in ("", "soon", "NaN", "inf", "-inf", "1e400", "9" * 400, "1600000000", "99999999")],
    ],
)
def test_a_reset_is_seconds_milliseconds_or_a_time(told: str, seconds: float | None) -> None:
    assert counters(x_ratelimit_reset=told).reset_s == seconds


def test_in_the_last_second_milliseconds_are_known_by_the_answers_before() -> None:
    window = Window()
    window.observe(0.0, 200, {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "5", "x-ratelimit-reset": "59000"})
    window.observe(58.5, 200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "500"})

    assert window.delay_s(58.5) == 0.5


def test_a_time_is_held_against_the_servers_own_clock() -> None:
    assert Counters.of({"x-ratelimit-reset": str(int(NOW) + 42), "date": DATE}, NOW + 5000).reset_s == 42


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("7", 7), (DATE.replace(":52", ":59"), 7), ("-7", 0), ("99999999999", None), ("nonsense", None), ("nan", None)],
)
def test_retry_after_is_seconds_or_a_date(told: str, seconds: float | None) -> None:
    assert counters(retry_after=told).retry_after_s == seconds


@pytest.mark.parametrize(
    ("limit", "remaining", "expected"),
    [
        ("10", "9", (10, 9)),
        ("10, 10;w=60", "9.0", (10, 9)),
        ("0", "-4", (None, 0)),
        ("-1", "1e308", (None, None)),
        ("NaN", "inf", (None, None)),
        ("9" * 30, "9" * 30, (None, None)),
    ],
)
def test_numbers_of_requests(limit: str, remaining: str, expected: tuple[int | None, int | None]) -> None:
    told = counters(x_ratelimit_limit=limit, x_ratelimit_remaining=remaining)
    assert (told.limit, told.remaining) == expected


texts = st.one_of(
    st.text(max_size=20),
    st.floats().map(str),
    st.integers().map(str),
    st.datetimes().map(lambda at: at.strftime("%a, %d %b %Y %H:%M:%S GMT")),
)


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        dict.fromkeys(("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after", "date"), texts)
    )
)
def test_whatever_the_headers_say_the_wait_is_bounded(headers: dict[str, str]) -> None:
    window = Window()
    for status in (200, 429, 200):
        window.observe(100.0, status, headers)
        told = Told.by(100.0, headers)

        assert 0 <= window.delay_s(100.0) <= LONGEST_WAIT_S + 1
        assert 1 <= window.limit <= MOST_REQUESTS
        assert told is None or (0 <= told.remaining <= MOST_REQUESTS and 100 <= told.ends_at <= 100 + LONGEST_WAIT_S)
