"""No secret, token or signed link reaches a log, a message or a traceback."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import urllib3

from ut_clips_dagster.errors import ClipsError
from ut_clips_dagster.redaction import HTTP_LOGGERS, redact, redact_http_logs
from ut_clips_dagster.results_api.client import ResultsApi
from ut_clips_dagster.results_api.media import MediaClient

from .conftest import SECRET

Start = Callable[..., Any]
SIGNS = (SECRET, "X-Amz-Signature", "X-Amz-Credential", "eyJ", "client_secret")
"""The last but one begins every token of the simulator."""


@pytest.fixture
def all_logs(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Every logger at DEBUG, httpcore's included, as somebody might set them who looks for an error."""
    redact_http_logs()
    names = [name for name in logging.root.manager.loggerDict if name.startswith(("http", "urllib3", "ut_clips"))]
    before = {name: logging.getLogger(name).level for name in (*names, *HTTP_LOGGERS, "httpcore")}
    caplog.set_level(logging.DEBUG)
    for name in before:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield caplog
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def clean(text: str) -> bool:
    return not any(sign in text for sign in SIGNS)


def test_logs_of_a_whole_download_hold_no_secret(lab: Start, all_logs: pytest.LogCaptureFixture) -> None:
    bench = lab()
    bench.server.faults.add("redirect")
    link = bench.link(loud(bench.api()))
    with MediaClient(allow_loopback=True, max_bytes=10**7).stream(link) as stream:
        assert b"".join(stream.chunks)
    loggers = {record.name for record in all_logs.records}
    assert {"httpx", "httpcore.http11", "urllib3.connectionpool"} <= loggers
    assert "/media/moved/" in all_logs.text
    for record in all_logs.records:
        assert clean(f"{record.getMessage()} {record.args} {record.exc_text}"), record


def loud(api: ResultsApi) -> ResultsApi:
    """Somebody turned httpcore's log on again, after the client turned it off."""
    logging.getLogger("httpcore").setLevel(logging.DEBUG)
    return api


@pytest.mark.parametrize(
    "fault",
    ["server_error", "unauthorized", "malformed_json", "reset", "stall", "html", "server_error:operation=token", None],
)
def test_errors_of_the_api_hold_no_secret(lab: Start, all_logs: pytest.LogCaptureFixture, fault: str | None) -> None:
    bench = lab()
    if fault:
        bench.server.faults.add(fault)
    api = loud(bench.api(**({} if fault else {"client_secret": SECRET + "-wrong"})))
    with pytest.raises(ClipsError) as caught:
        api.request_clip(bench.clip.session_id, bench.clip.clip_uuid)
    shown = "".join(traceback.format_exception(caught.value))
    assert clean(shown), shown
    assert clean(all_logs.text)


@pytest.mark.parametrize(
    "fault", ["server_error", "forbidden", "short_body", "reset", "stall", "redirect_private", "html", "endless_body"]
)
def test_errors_of_a_download_hold_no_link(lab: Start, all_logs: pytest.LogCaptureFixture, fault: str) -> None:
    bench = lab()
    link = bench.link(loud(bench.api()))
    bench.server.faults.add(f"{fault}:operation=media")
    client = MediaClient(allow_loopback=True, max_bytes=10**6, timeout=urllib3.Timeout(0.3))
    with pytest.raises(ClipsError) as caught, client.stream(link) as stream:
        list(stream.chunks)
    shown = "".join(traceback.format_exception(caught.value))
    assert clean(shown), shown
    assert clean(all_logs.text)


def test_a_link_to_nowhere_is_not_shown(all_logs: pytest.LogCaptureFixture) -> None:
    client = MediaClient(allow_loopback=True, max_bytes=10**6, timeout=urllib3.Timeout(0.3))
    for host in ("http://127.0.0.1:1", "https://nobody.invalid", "http://elsewhere.invalid", "https://[::1"):
        with pytest.raises(ClipsError) as caught, client.stream(f"{host}/c.mp4?{SIGNS[1]}=x"):
            pytest.fail("it was opened")
        assert clean("".join(traceback.format_exception(caught.value)))
    assert clean(all_logs.text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET https://h/p?sig=1 200", "GET https://h/p?*** 200"),
        ('http://h:80 "GET /p/a.mp4?sig=1&b=2 HTTP/1.1" 200', 'http://h:80 "GET /p/a.mp4?*** HTTP/1.1" 200'),
        ("https://h/p#token=1", "https://h/p?***"),
        ("Authorization: Bearer abc.def-_ghi=", "Authorization: Bearer ***"),
        ("nothing? at all", "nothing? at all"),
    ],
)
def test_what_redaction_leaves(text: str, expected: str) -> None:
    assert redact(text) == expected


def test_a_filter_is_added_once() -> None:
    for _ in range(3):
        redact_http_logs()
    assert all(len(logging.getLogger(name).filters) == 1 for name in HTTP_LOGGERS)


def test_credentials_do_not_show_in_a_repr(lab: Start) -> None:
    bench = lab()
    api = bench.api(timeout=httpx.Timeout(1))
    assert clean(repr(api) + repr(api._tokens) + repr(vars(api)))
