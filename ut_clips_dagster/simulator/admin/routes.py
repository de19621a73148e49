"""`/_simulator/`: look into the simulator and change it over HTTP, from this machine only."""

import ipaddress
from typing import NoReturn

from fastapi import APIRouter, Depends, HTTPException, Request

from ut_clips_dagster.simulator.admin.schemas import (
    ClipState,
    Counted,
    FaultOn,
    LogEntry,
    NewClip,
    NewSession,
    NewTranscript,
    Recut,
    Rename,
    RequestsState,
    SessionState,
    Spend,
    WorldState,
)
from ut_clips_dagster.simulator.faults.faults import Fault
from ut_clips_dagster.simulator.parts import Simulator
from ut_clips_dagster.simulator.world.state import Clip, Session


def admin_router(simulator: Simulator) -> APIRouter:
    """The routes, over the parts of a simulator."""
    router = APIRouter(prefix="/_simulator", include_in_schema=False, dependencies=[Depends(_loopback_only)])
    _add_observation(router, simulator)
    _add_faults(router, simulator)
    _add_mutations(router, simulator)
    return router


def _loopback_only(request: Request) -> None:
    try:
        is_here = request.client is not None and ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        is_here = False
    if not is_here:
        raise HTTPException(403, "The simulator is steered from its own machine only.")


def _add_observation(router: APIRouter, simulator: Simulator) -> None:
    world = simulator.world

    def session_state(session: Session) -> SessionState:
        return SessionState.of(session, tuple(clip_state(clip) for clip in world.clips(session.session_id)))

    def clip_state(clip: Clip) -> ClipState:
        return ClipState.of(clip, simulator.generations.attempts(clip))

    @router.get("/state")
    def state() -> WorldState:
        sessions = tuple(session_state(session) for session in world.sessions())
        return WorldState(now=simulator.clock.wire_now(), test_ids=world.test_ids, sessions=sessions)

    @router.get("/requests")
    def requests(limit: int = 1000) -> RequestsState:
        counts = tuple(
            Counted(operation=operation, status=status, requests=number)
            for (operation, status), number in sorted(
                simulator.requests.counts().items(), key=lambda item: (item[0][0].value, item[0][1] or 0)
            )
        )
        entries = simulator.requests.entries()
        newest = entries[max(0, len(entries) - limit) :]
        return RequestsState(
            total=simulator.requests.count(),
            api=simulator.requests.api_count(),
            counts=counts,
            requests=tuple(LogEntry.of(entry) for entry in newest),
        )

    @router.delete("/requests")
    def forget_requests() -> None:
        simulator.requests.clear()


def _add_faults(router: APIRouter, simulator: Simulator) -> None:
    faults = simulator.faults

    def states() -> tuple[FaultOn, ...]:
        return tuple(
            FaultOn(id=state.fault_id, fault=state.fault, seen=state.seen, hits=state.hits) for state in faults.states()
        )

    @router.get("/faults")
    def get_faults() -> tuple[FaultOn, ...]:
        return states()

    @router.post("/faults")
    def add_fault(fault: Fault) -> FaultOn:
        fault_id = faults.add(fault)
        return next(state for state in states() if state.id == fault_id)

    @router.delete("/faults")
    def clear_faults() -> None:
        faults.clear()

    @router.delete("/faults/{fault_id}")
    def remove_fault(fault_id: int) -> None:
        if not faults.remove(fault_id):
            _unknown("fault", str(fault_id))


def _add_mutations(router: APIRouter, simulator: Simulator) -> None:
    world = simulator.world
    clip_path = "/sessions/{session_id}/clips/{clip_uuid}"

    @router.post("/sessions")
    def add_session(new: NewSession) -> SessionState:
        session = world.add_session(**dict(new))
        return SessionState.of(session, tuple(ClipState.of(clip, 0) for clip in world.clips(session.session_id)))

    @router.delete("/sessions/{session_id}")
    def delete_session(session_id: str) -> None:
        world.delete_session(session_id)

    @router.put("/sessions/{session_id}/transcript")
    def set_transcript(session_id: str, new: NewTranscript) -> None:
        world.set_transcript(session_id, None if new.text is None else new.text.encode())

    @router.post("/sessions/{session_id}/clips")
    def add_clip(session_id: str, new: NewClip) -> ClipState:
        return ClipState.of(world.add_clip(session_id, **dict(new)), 0)

    @router.post(f"{clip_path}/rename")
    def rename_clip(session_id: str, clip_uuid: str, new: Rename) -> ClipState:
        clip = world.rename_clip(session_id, clip_uuid, new.name, new.description)
        return ClipState.of(clip, simulator.generations.attempts(clip))

    @router.post(f"{clip_path}/recut")
    def recut_clip(session_id: str, clip_uuid: str, new: Recut) -> ClipState:
        clip = world.recut_clip(session_id, clip_uuid, new.time_start_ms, new.time_end_ms, new.layout)
        return ClipState.of(clip, simulator.generations.attempts(clip))

    @router.delete(clip_path)
    def delete_clip(session_id: str, clip_uuid: str) -> None:
        world.delete_clip(session_id, clip_uuid)

    @router.post("/reset-window")
    def reset_window() -> None:
        simulator.limiter.reset()

    @router.post("/spend")
    def spend(spend: Spend) -> None:
        simulator.limiter.spend(simulator.config.client_id, spend.requests)


def _unknown(what: str, name: str) -> NoReturn:
    raise HTTPException(404, f"There is no {what} {name}.")
