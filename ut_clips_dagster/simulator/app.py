"""The application: routes, the form of errors, and the gateway in front."""

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from ut_clips_dagster.simulator.admin.routes import admin_router
from ut_clips_dagster.simulator.api.answers import error_body
from ut_clips_dagster.simulator.api.files import files_router
from ut_clips_dagster.simulator.api.oauth import oauth_router
from ut_clips_dagster.simulator.api.routes import api_router
from ut_clips_dagster.simulator.gateway import Gateway
from ut_clips_dagster.simulator.parts import Simulator

_DESCRIPTION = """A simulator of the part of UserTesting's Results API that leads to clips.

Get a token from `POST /oauth2/token`. Steer the simulator under `/_simulator/`."""


def create_app(simulator: Simulator) -> FastAPI:
    """The application over the parts of a simulator; serve it with `SimulatorProtocol` for faults of the connection."""
    app = FastAPI(
        title="Results API (simulator)",
        version="2.0",
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    for router in (api_router(simulator), oauth_router(simulator), files_router(simulator), admin_router(simulator)):
        app.include_router(router)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(KeyError, _refused)
    app.add_exception_handler(ValueError, _refused)
    app.add_middleware(Gateway, simulator=simulator)
    return app


async def _invalid(_: Request, error: Exception) -> Response:
    """400, where FastAPI would say 422: so the official document, for a limit and an offset out of range."""
    if not isinstance(error, RequestValidationError):  # pragma: no cover  # registered for that type alone
        raise error
    return _json_error(400, [_in_words(each["loc"], each["type"], each["msg"]) for each in error.errors()])


def _in_words(location: tuple[str | int, ...], kind: str, message: str) -> str:
    name = ".".join(str(part) for part in location[1:])
    if kind == "string_pattern_mismatch":
        return f"{name} must be a UUID"
    if kind == "missing":
        return f"{name} should not be empty"
    return f"{name}: {message[:1].lower()}{message[1:]}"


async def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):  # pragma: no cover  # registered for that type alone
        raise error
    message = error.detail if error.detail != "Not Found" else f"Cannot {request.method} {request.url.path}"
    return _json_error(error.status_code, message)


async def _refused(request: Request, error: Exception) -> Response:
    """A change that `/_simulator/` was asked for, of something that there is not, or that makes no sense."""
    if not request.url.path.startswith("/_simulator/"):
        raise error  # a bug of ours, which must not look like a client's mistake
    if isinstance(error, KeyError):
        return _json_error(404, f"There is no {error.args[0]}.")
    return _json_error(400, str(error))


def _json_error(status: int, message: str | list[str]) -> Response:
    return Response(error_body(status, message), status, media_type="application/json; charset=utf-8")
