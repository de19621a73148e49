"""What is known of the platform at one moment; gathered at the edge, judged in `findings.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ut_clips_dagster.archive.discovery import DiscoveryDocument


@dataclass(frozen=True)
class SensorFacts:
    """A sensor, by its last ticks."""

    name: str
    interval_s: float
    on: bool = True
    last_tick_at: datetime | None = None
    failures: int = 0
    """How many ticks in a row failed, up to the last."""
    failing_since: datetime | None = None
    error: str = ""
    discovers: bool = False
    """It is the one that reads the session lists."""
    alerts: bool = False
    """It is the one that sends alerts."""
    may_be_off: bool = False
    """A person may have reason to stop it: something else does its work."""


@dataclass(frozen=True)
class Waiting:
    """Something that waits, and since when."""

    name: str
    since: datetime


@dataclass(frozen=True)
class InstanceFacts:
    """What a Dagster instance says."""

    heartbeats: Mapping[str, datetime | None] = field(default_factory=dict)
    """Last sign of life of each daemon that this instance needs; None: never."""
    sensors: Sequence[SensorFacts] = ()
    given_up: Sequence[Waiting] = ()
    """Unfinished sessions without a retry left, longest waiting first."""
    oldest_queued_run: Waiting | None = None
    oldest_unfinished: Waiting | None = None
    """The session that is unfinished for the longest time, of those that are not given up."""
    runs_in_flight: int = 0
    begun_at: datetime | None = None
    """When a daemon was first seen to live here; None: never."""


@dataclass(frozen=True)
class Space:
    """Free space of a file system that we write to."""

    what: str
    path: str
    free_bytes: int


@dataclass(frozen=True)
class Facts:
    """All of it."""

    now: datetime
    archive: str
    archive_problem: str = ""
    """Why the archive cannot be read."""
    archive_is_empty: bool = False
    """It holds neither a table nor a session's document."""
    discoveries: Mapping[str, DiscoveryDocument | None] = field(default_factory=dict)
    """By test; None for a test that was never asked."""
    home: str = ""
    """DAGSTER_HOME."""
    instance: InstanceFacts | None = None
    """None where there is no Dagster instance, or it cannot be read."""
    instance_problem: str = ""
    """Why the instance cannot be read."""
    spaces: Sequence[Space] = ()
    undelivered: Sequence[Waiting] = ()
    """Alert URLs (shortened) to which no message could be delivered."""
