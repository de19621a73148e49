"""Tokens are given for client credentials only, and live for an hour."""

import base64
from collections.abc import Callable
from typing import Any

import httpx
import pytest

FORM = {"grant_type": "client_credentials", "scope": "studies:read"}


def ask(lab: Any, form: dict[str, str], **kwargs: Any) -> httpx.Response:
    return lab.plain.post(lab.server.token_url, data=form, **kwargs)


def test_secret_in_the_form(bench: Callable[..., Any]) -> None:
    answer = ask(bench(), {**FORM, "client_id": "demo", "client_secret": "demo"})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["token_type"] == "Bearer"
    assert answer.json()["expires_in"] == 3600
    assert answer.json()["scope"] == "studies:read"


def test_secret_in_basic_authorization_form_encoded(bench: Callable[..., Any]) -> None:
    lab = bench(client_id="a:b", client_secret="p%s +c")
    basic = base64.b64encode(b"a%3Ab:p%25s+%2Bc").decode()
    assert ask(lab, FORM, headers={"Authorization": f"Basic {basic}"}).status_code == 200


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({**FORM, "client_id": "demo", "client_secret": "wrong"}, 401, "invalid_client"),
        ({**FORM, "client_id": "other", "client_secret": "demo"}, 401, "invalid_client"),
        (FORM, 401, "invalid_client"),
        ({"client_id": "demo", "client_secret": "demo"}, 400, "invalid_request"),
        ({"grant_type": "password", "client_id": "demo", "client_secret": "demo"}, 400, "unsupported_grant_type"),
        ({**FORM, "scope": "all", "client_id": "demo", "client_secret": "demo"}, 400, "invalid_scope"),
    ],
)
def test_errors_are_those_of_the_rfc(bench: Callable[..., Any], form: dict[str, str], status: int, error: str) -> None:
    answer = ask(bench(), form)
    assert (answer.status_code, answer.json()["error"]) == (status, error)


def test_broken_basic_authorization_is_an_invalid_client(bench: Callable[..., Any]) -> None:
    assert ask(bench(), FORM, headers={"Authorization": "Basic !!!"}).status_code == 401


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer x", "Bearer a.b.c", "Basic ZGVtbzpkZW1v", "Bearer é"]
)
def test_no_valid_token_is_401(bench: Callable[..., Any], authorization: str | None) -> None:
    lab = bench()
    headers = {} if authorization is None else {"Authorization": authorization.encode()}
    answer = lab.plain.get(f"{lab.server.url}/api/v2/sessionResults", headers=headers)
    assert answer.status_code == 401
    assert answer.json() == {
        "statusCode": 401, "message": "Missing or invalid access token.", "error": "Unauthorized"
    }  # fmt: skip


def test_tokens_expire_after_an_hour_and_a_new_one_works(bench: Callable[..., Any]) -> None:
    lab = bench()
    lab.time.advance(3599)
    assert lab.list_sessions().status_code == 200
    lab.time.advance(2)
    assert lab.list_sessions().status_code == 401
    lab.http.headers["Authorization"] = f"Bearer {lab.token()}"
    assert lab.list_sessions().status_code == 200


def test_a_token_of_another_simulator_is_worth_nothing(bench: Callable[..., Any]) -> None:
    one, other = bench(), bench()
    one.http.headers["Authorization"] = other.http.headers["Authorization"]
    assert one.list_sessions().status_code == 401


def test_lifetime_is_told_in_real_seconds(bench: Callable[..., Any]) -> None:
    lab = bench(time_scale=60)
    assert ask(lab, {**FORM, "client_id": "demo", "client_secret": "demo"}).json()["expires_in"] == 60
