"""What stands between the socket and the routes: rate limit, request log, faults of the wire."""

from dataclasses import dataclass, replace
from datetime import datetime

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ut_clips_dagster.simulator.admin.requestlog import LoggedRequest
from ut_clips_dagster.simulator.api.answers import API_HEADERS, error_reply, rate_headers
from ut_clips_dagster.simulator.api.calls import API_OPERATIONS, Call, Operation, classify
from ut_clips_dagster.simulator.faults.bodies import REPLIES
from ut_clips_dagster.simulator.faults.faults import Fault
from ut_clips_dagster.simulator.faults.names import WIRE_FAULTS, FaultName
from ut_clips_dagster.simulator.faults.protocol import Connection, until_gone
from ut_clips_dagster.simulator.faults.rewrites import REWRITES, Rewritten, replacing
from ut_clips_dagster.simulator.faults.wire import Chunked, CutShort, Headed, Reply, Slow, xml_error
from ut_clips_dagster.simulator.parts import Simulator

_TOO_MANY = "Too many requests. Maximum of {limit} requests per minute."
_MOVED = "/media/moved/"
_HEADER = "header."
_STATUSES = {
    FaultName.BAD_REQUEST: 400,
    FaultName.UNAUTHORIZED: 401,
    FaultName.FORBIDDEN: 403,
    FaultName.NOT_FOUND: 404,
    FaultName.RATE_LIMITED: 429,
    FaultName.RATE_LIMITED_NO_HEADERS: 429,
}


@dataclass
class _Exchange:
    """One request under way; notes it down and completes its headers when the answer starts."""

    simulator: Simulator
    call: Call
    client_id: str | None
    query: str
    at: datetime
    outgoing: Send
    headers: tuple[tuple[str, str], ...] = ()
    fault: FaultName | None = None
    is_logged: bool = False

    @property
    def counter(self) -> str:
        """Name of the rate limit's counter that it belongs to."""
        apart = self.simulator.config.rate_limit_per_operation
        return f"{self.client_id} {self.call.operation.value}" if apart else str(self.client_id)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message["headers"]))
            if headers.get("content-type") == "application/json":
                headers["content-type"] = "application/json; charset=utf-8"  # as the official document has it
            for name, value in self.headers:
                headers[name] = value
            message = {**message, "headers": headers.raw}
            self.log(message["status"])
        await self.outgoing(message)

    def log(self, status: int | None) -> None:
        if self.is_logged:
            return
        self.is_logged = True
        entry = LoggedRequest(
            self.at, *self.call, client_id=self.client_id, query=self.query, status=status, fault=self.fault
        )
        self.simulator.requests.add(entry)


class Gateway:
    """ASGI middleware around the simulator's application."""

    def __init__(self, app: ASGIApp, simulator: Simulator) -> None:
        self._app = app
        self._simulator = simulator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request (or the life of the server, which is passed on)."""
        call = classify(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if call is None:
            await self._app(scope, receive, send)
            return
        simulator = self._simulator
        is_api = call.operation in API_OPERATIONS
        bearer = simulator.tokens.check(Headers(scope=scope).get("authorization")) if is_api else None
        query = scope["query_string"].decode("latin-1") if is_api else ""
        exchange = _Exchange(
            simulator, call, bearer.client_id if bearer else None, query, simulator.clock.wire_now(), send
        )
        if bearer:
            admission = simulator.limiter.admit(exchange.counter)
            exchange.headers = (*API_HEADERS, *rate_headers(admission))
            if not admission.allowed:
                await error_reply(429, _TOO_MANY.format(limit=admission.limit)).send(exchange.send)
                return
        fault = simulator.faults.take(call, WIRE_FAULTS) if not scope["path"].startswith(_MOVED) else None
        if fault is None:
            await self._app(scope, receive, exchange.send)
        else:
            exchange.fault = fault.name
            await self._misbehave(fault, exchange, scope, receive)

    async def _misbehave(self, fault: Fault, exchange: _Exchange, scope: Scope, receive: Receive) -> None:
        if fault.name is FaultName.STALL:
            exchange.log(None)
            await until_gone(receive)
            return
        self._change_limit(fault, exchange)
        reply = _reply_instead(fault, exchange.call, scope)
        if reply is not None:
            await reply.send(exchange.send)
            return
        connection = Connection.of(scope)
        await self._app(scope, receive, _mangled(fault, exchange.send, connection))
        if connection.is_closing:
            # Wait until the server knows it too; it would complain about an answer that was never completed.
            await until_gone(receive)

    def _change_limit(self, fault: Fault, exchange: _Exchange) -> None:
        if fault.name is FaultName.RATE_LIMITED and exchange.client_id:
            # Another process has used up the window: what the header says stays true until the window ends.
            exchange.headers = (*API_HEADERS, *rate_headers(self._simulator.limiter.spend(exchange.counter)))
        elif fault.name is FaultName.RATE_LIMITED_NO_HEADERS:
            exchange.headers = ()
        elif fault.name is FaultName.REPLACED and fault.at.startswith(_HEADER):
            header = fault.at.removeprefix(_HEADER)
            others = tuple(each for each in exchange.headers if each[0] != header)
            exchange.headers = others if fault.value is None else (*others, (header, fault.value))


def _reply_instead(fault: Fault, call: Call, scope: Scope) -> Reply | None:  # noqa: PLR0911  # one return per fault
    """The answer that a fault gives in place of the application's, or None where it spoils that one."""
    if fault.name in REPLIES:
        return REPLIES[fault.name]
    if fault.name is FaultName.EMPTY_BODY:
        media = call.operation is Operation.MEDIA
        return Reply(200, b"", "video/mp4" if media else "application/json; charset=utf-8")
    if fault.name is FaultName.REDIRECT_PRIVATE:
        return Reply(307, b"", headers=(("Location", "http://169.254.169.254/latest/meta-data/"),))
    if fault.name is FaultName.REDIRECT:
        path = scope["path"].replace("/media/", _MOVED, 1)
        return Reply(307, b"", headers=(("Location", f"{path}?{scope['query_string'].decode('latin-1')}"),))
    status = fault.status if fault.name is FaultName.SERVER_ERROR else _STATUSES.get(fault.name)
    if status is None:
        return None
    retry_after = () if fault.retry_after_s is None else (("Retry-After", str(fault.retry_after_s)),)
    if call.operation is Operation.MEDIA:
        return replace(xml_error(status, "SimulatedFault", fault.name.value), headers=retry_after)
    return error_reply(status, f"Simulated fault: {fault.name.value}", retry_after)


def _mangled(fault: Fault, send: Send, connection: Connection) -> Send:  # noqa: C901, PLR0911 - one return per fault
    """A `Send` that passes the application's answer on as the fault has it."""
    name = fault.name
    if name is FaultName.REPLACED:
        return Rewritten(send, replacing(fault.at, fault.value)) if not fault.at.startswith(_HEADER) else send
    if name in REWRITES:
        return Rewritten(send, REWRITES[name])
    if name is FaultName.RESET:
        return CutShort(send, connection, reset=True)
    if name is FaultName.SHORT_BODY:
        return CutShort(send, connection)
    if name is FaultName.CHUNKED_CUT:
        return CutShort(send, connection, chunked=True)
    if name is FaultName.CHUNKED_BODY:
        return Chunked(send, connection)
    if name is FaultName.ENDLESS_BODY:
        return Chunked(send, connection, endless=True)
    if name is FaultName.SLOW_BODY:
        return Slow(send, connection, fault.delay_s)
    if name is FaultName.WRONG_CONTENT_TYPE:
        return Headed(send, "content-type", "text/html; charset=utf-8")
    if name is FaultName.AWS_CHUNKED:
        return Headed(send, "content-encoding", "aws-chunked")
    raise AssertionError(f"no way to make {name.value} is known")  # pragma: no cover
