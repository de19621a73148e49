"""A simulator on a socket, with a clock that the test sets, and the official document to hold answers against."""

import json
import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from ut_clips_dagster.simulator import Clip, Session, SimulatorConfig, SimulatorServer


class ManualTime:
    """Real time, as far as the simulator knows: it stands still until the test lets it pass."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.25

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


class Bench:
    """One simulator under test, and a client that holds a token."""

    def __init__(self, server: SimulatorServer, time: ManualTime) -> None:
        self.server = server
        self.time = time
        # verify=False: there is no TLS here, and reading the certificates takes longer than most of the tests.
        self.plain = httpx.Client(timeout=5, verify=False)
        self.http = httpx.Client(base_url=server.url, timeout=5, verify=False)
        self.http.headers["Authorization"] = f"Bearer {self.token()}"

    def token(self) -> str:
        config = self.server.simulator.config
        secret = config.client_secret.get_secret_value()
        form = {"grant_type": "client_credentials", "client_id": config.client_id, "client_secret": secret}
        answer = self.http.post("/oauth2/token", data=form)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def list_sessions(self, **params: Any) -> httpx.Response:
        return self.http.get("/api/v2/sessionResults", params={"testId": self.server.world.test_ids[0], **params})

    def list_clips(self, session_id: str) -> httpx.Response:
        return self.http.get(f"/api/v2/sessionResults/{session_id}/clips")

    def get_clip(self, clip: Clip) -> httpx.Response:
        return self.http.get(f"/api/v2/sessionResults/{clip.session_id}/clips/{clip.clip_uuid}")

    def session_with_clip(self, **clip: Any) -> tuple[Session, Clip]:
        session = self.server.world.add_session()
        return session, self.server.world.add_clip(session.session_id, **clip)

    def link(self, clip: Clip) -> str:
        """A fresh link to a clip: asked for twice, with time enough between."""
        self.get_clip(clip)
        self.time.advance(120)
        answer = self.get_clip(clip).json()
        assert answer["status"] == "GENERATED", answer
        return str(answer["clipUrl"])


@pytest.fixture(scope="session")
def stopping() -> Iterator[ThreadPoolExecutor]:
    """Stops simulators beside the next tests: uvicorn looks up every tenth of a second only."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def bench(stopping: ThreadPoolExecutor) -> Iterator[Callable[..., Bench]]:
    """Starts a simulator with these settings (rate limit off, unless the test sets one)."""
    started: list[Bench] = []

    def start(**settings: Any) -> Bench:
        time = ManualTime()
        server = SimulatorServer(SimulatorConfig(**{"rate_limit": 100_000, "sessions": 3, **settings}), now=time)
        server.start()
        started.append(Bench(server, time))
        return started[-1]

    yield start
    for each in started:
        each.http.close()
        each.plain.close()
        stopping.submit(each.server.stop)


@pytest.fixture(scope="session")
def official() -> Any:
    """The three operations and their schemas, cut out of the official OpenAPI document, without their prose."""
    return json.loads(Path(__file__).with_name("official_openapi_excerpt.json").read_text())


class Conformance:
    """Holds answers against the official schemas; as much of OpenAPI 3.0 as those use."""

    TYPES: ClassVar[dict[str, Any]] = {
        "string": str, "number": (int, float), "boolean": bool, "array": list, "object": dict
    }  # fmt: skip
    FORMATS: ClassVar[dict[str, Callable[[str], object]]] = {
        "uuid": uuid.UUID,
        "date-time": lambda text: datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ"),  # noqa: DTZ007
        "url": lambda text: httpx.URL(text).host or pytest.fail(f"no URL: {text}"),
    }

    def __init__(self, schemas: Any) -> None:
        self.schemas = schemas

    def __call__(self, value: Any, name: str) -> None:
        self.check(value, {"$ref": f"#/{name}"}, name)

    def check(self, value: Any, schema: Any, at: str) -> None:
        if "$ref" in schema:
            self.check(value, self.schemas[schema["$ref"].rpartition("/")[2]], at)
            return
        if value is None:
            assert schema.get("nullable"), f"{at} is null"
            return
        for part in schema.get("allOf", []):
            self.check(value, part, at)
        if "type" in schema:
            self.check_type(value, schema, at)

    def check_type(self, value: Any, schema: Any, at: str) -> None:
        kind = schema["type"]
        assert isinstance(value, self.TYPES[kind]), f"{at} is no {kind}: {value!r}"
        assert kind == "boolean" or not isinstance(value, bool), f"{at} is a boolean"
        assert value in schema.get("enum", [value]), f"{at}: {value!r}"
        if "format" in schema:
            self.FORMATS[schema["format"]](value)
        if kind == "array":
            for number, item in enumerate(value):
                self.check(item, schema["items"], f"{at}[{number}]")
        if kind == "object":
            assert set(schema.get("required", [])) <= set(value), f"{at} lacks fields: {value}"
            assert set(value) <= set(schema["properties"]), f"{at} has more fields: {value}"
            for name, each in value.items():
                self.check(each, schema["properties"][name], f"{at}.{name}")


@pytest.fixture(scope="session")
def conforms(official: Any) -> Conformance:
    """Asserts that an answer is what a schema of the official document asks for, and nothing besides."""
    return Conformance(official["components"]["schemas"])


@pytest.fixture(scope="session")
def official_headers(official: Any) -> Callable[[httpx.Response], None]:
    """Asserts that an answer carries every header that the official document names."""
    named = official["paths"]["/api/v2/sessionResults"]["get"]["responses"]["200"]["headers"]

    def check(response: httpx.Response) -> None:
        for name, header in named.items():
            assert name in response.headers, f"{name} is missing"
            if header["schema"]["type"] == "integer":
                assert re.fullmatch(r"\d+", response.headers[name])

    return check
