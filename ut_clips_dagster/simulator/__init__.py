"""UserTesting's Results API on your desk: what leads to clips, true to the official document, with faults on demand."""

from ut_clips_dagster.simulator.admin.requestlog import LoggedRequest, RequestLog
from ut_clips_dagster.simulator.api.calls import Call, Operation
from ut_clips_dagster.simulator.app import create_app
from ut_clips_dagster.simulator.config import DEMO_TEST_ID, SimulatorConfig
from ut_clips_dagster.simulator.faults.faults import Fault, Faults
from ut_clips_dagster.simulator.faults.names import FaultName
from ut_clips_dagster.simulator.parts import Simulator
from ut_clips_dagster.simulator.server import SimulatorServer, serve
from ut_clips_dagster.simulator.world.clock import SimulatedClock
from ut_clips_dagster.simulator.world.media import MediaFile, media_file
from ut_clips_dagster.simulator.world.state import COMPLETE, Clip, ClipStatus, Layout, Render, Session
from ut_clips_dagster.simulator.world.world import World

__all__ = [
    "COMPLETE",
    "DEMO_TEST_ID",
    "Call",
    "Clip",
    "ClipStatus",
    "Fault",
    "FaultName",
    "Faults",
    "Layout",
    "LoggedRequest",
    "MediaFile",
    "Operation",
    "Render",
    "RequestLog",
    "Session",
    "SimulatedClock",
    "Simulator",
    "SimulatorConfig",
    "SimulatorServer",
    "World",
    "create_app",
    "media_file",
    "serve",
]
