"""The simulator can be looked into and changed over HTTP."""

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import HTTPException, Request

from ut_clips_dagster.simulator.admin.routes import _loopback_only


def test_state_shows_every_clip_and_its_attempts(bench: Callable[..., Any]) -> None:
    lab = bench(sessions=0)
    _, clip = lab.session_with_clip()
    lab.get_clip(clip)
    (session,) = lab.http.get("/_simulator/state").json()["sessions"]
    assert [(found["clip_uuid"], found["generation_attempts"]) for found in session["clips"]] == [(clip.clip_uuid, 1)]


def test_requests_are_logged_with_what_they_were_about(bench: Callable[..., Any]) -> None:
    lab = bench()
    session, clip = lab.session_with_clip()
    lab.list_clips(session.session_id)
    lab.get_clip(clip)
    state = lab.http.get("/_simulator/requests", params={"limit": 2}).json()
    assert (state["total"], state["api"]) == (3, 2)
    assert {"operation": "get_clip", "status": 200, "requests": 1} in state["counts"]
    assert [
        (entry["operation"], entry["session_id"], entry["clip_uuid"], entry["client_id"], entry["status"])
        for entry in state["requests"]
    ] == [
        ("list_clips", session.session_id, None, "demo", 200),
        ("get_clip", session.session_id, clip.clip_uuid, "demo", 200),
    ]
    lab.http.delete("/_simulator/requests")
    assert lab.server.requests.count() == 0


def test_links_are_not_logged(bench: Callable[..., Any]) -> None:
    lab = bench()
    _, clip = lab.session_with_clip()
    lab.http.get(lab.link(clip))
    assert "Signature" not in lab.http.get("/_simulator/requests").text


def test_faults_are_switched_on_and_off(bench: Callable[..., Any]) -> None:
    lab = bench()
    fault = lab.http.post("/_simulator/faults", json={"name": "server_error", "count": 5}).json()
    assert lab.list_sessions().status_code == 500
    assert lab.http.get("/_simulator/faults").json()[0]["hits"] == 1
    assert lab.http.delete(f"/_simulator/faults/{fault['id']}").status_code == 200
    assert lab.list_sessions().status_code == 200
    assert lab.http.delete(f"/_simulator/faults/{fault['id']}").status_code == 404
    lab.http.post("/_simulator/faults", json={"name": "reset"})
    lab.http.delete("/_simulator/faults")
    assert lab.http.get("/_simulator/faults").json() == []
    assert lab.http.post("/_simulator/faults", json={"name": "nothing"}).status_code == 400


def test_sessions_and_clips_are_changed(bench: Callable[..., Any]) -> None:
    lab = bench()
    made = lab.http.post("/_simulator/sessions", json={"clips": 1}).json()
    sessions = f"/_simulator/sessions/{made['session_id']}"
    clip = lab.http.post(f"{sessions}/clips", json={"name": "One", "time_range_ms": [0, 100]}).json()
    path = f"{sessions}/clips/{clip['clip_uuid']}"
    assert lab.http.post(f"{path}/rename", json={"name": "Two"}).json()["name"] == "Two"
    assert lab.http.post(f"{path}/recut", json={"time_start_ms": 50, "time_end_ms": 90}).status_code == 200
    listed = lab.list_clips(made["session_id"]).json()["clips"]
    assert [(each["name"], each["timeStartMs"]) for each in listed][1] == ("Two", 50)
    assert lab.http.delete(path).status_code == 200
    assert len(lab.list_clips(made["session_id"]).json()["clips"]) == 1
    assert lab.http.delete(sessions).status_code == 200
    assert lab.list_clips(made["session_id"]).status_code == 404


def test_changes_that_make_no_sense_are_refused(bench: Callable[..., Any]) -> None:
    lab = bench()
    session, clip = lab.session_with_clip()
    path = f"/_simulator/sessions/{session.session_id}/clips/{clip.clip_uuid}"
    assert lab.http.post(f"{path}/recut", json={"time_start_ms": 9, "time_end_ms": 9}).status_code == 400
    assert lab.http.post(f"/_simulator/sessions/{uuid.uuid4()}/clips", json={}).status_code == 404
    assert lab.http.delete(f"/_simulator/sessions/{uuid.uuid4()}").status_code == 404


def test_the_window_is_spent_and_reset(bench: Callable[..., Any]) -> None:
    lab = bench(rate_limit=10)
    lab.http.post("/_simulator/spend", json={"requests": 10})
    assert lab.list_sessions().status_code == 429
    lab.http.post("/_simulator/reset-window")
    assert lab.list_sessions().status_code == 200


@pytest.mark.parametrize(("host", "allowed"), [("127.0.0.1", True), ("::1", True), ("10.0.0.7", False), ("", False)])
def test_only_this_machine_steers(host: str, allowed: bool) -> None:
    request = Request({"type": "http", "client": (host, 1)})
    if allowed:
        _loopback_only(request)
    else:
        with pytest.raises(HTTPException):
            _loopback_only(request)
