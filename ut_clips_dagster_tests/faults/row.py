"""What one row of the fault matrix says, and what a run of it found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ut_clips_dagster_tests.gcs_emulator import Api, FaultKind, Operation

CLIPS_OF_A = 2
FAULTLESS = 8
"""Requests without any fault, S + 2C: two sessions, two clips and one."""

Store = Literal["directory", "gcs", "s3"]
Special = Literal[
    "hand_added",  # no session.json: a person added the partition
    "no_video",  # A's product has no video: 404 to its list
    "wrong_secret",
    "same_bytes_there",  # a killed run stored A's first clip, and wrote nothing of it down
    "other_bytes_there",  # a file that is not ours has the name of A's first clip
    "damaged_document",  # A's clip_list.json is garbage
    "root_is_a_file",
    "no_hard_links",  # as on exFAT or SMB
    "disk_full_for_a",  # ENOSPC in the middle of A's clips
    "missing_bucket",
]


@dataclass(frozen=True)
class Route:
    """Requests about session A go to another host: `refused` is a port where nobody listens."""

    to: Literal["refused", "unresolvable", "plain_http"]
    what: Literal["api", "media", "token"]
    count: int | None = None


@dataclass(frozen=True)
class GcsFault:
    """A switch of the emulator; `{a}` in `contains` is session A, `{a1}` its first clip."""

    kind: FaultKind
    count: int | None = 1
    on: tuple[Operation, ...] | None = None
    contains: str = "{a1}"
    api: Api = "json"


@dataclass(frozen=True)
class Row:
    """One failure, and what is expected of it.

    Two sessions are archived in one batch: A, which the failure hits, with two clips, and B with one.

    Attributes:
        name: the failure, in words.
        faults: of the simulator, for `Fault.parse`; `{a}` is session A, `{a1}` its first clip.
        gcs: faults of the emulator of GCS, or of S3.
        route: requests that go astray.
        special: what no fault can say.
        store: where the archive is.
        kept: clips of A that are stored in the end.
        rows: statuses of A's rows in the table, sorted; None when no rows could be written.
        message: a part of A's error; empty when A is complete all the same.
        requests: that the API client sent in all, repeated ones included.
        within: how far the requests may be from that number: only where waits with jitter decide over it.
        other: B is complete; or fails alike, as the failure hits both; or the run refuses to start.
    """

    name: str
    faults: tuple[str, ...] = ()
    gcs: tuple[GcsFault, ...] = ()
    route: Route | None = None
    special: Special | None = None
    store: Store = "directory"
    kept: int = CLIPS_OF_A
    rows: tuple[str, ...] | None = ("STORED", "STORED")
    message: str = ""
    requests: int = FAULTLESS
    within: int = 0
    other: Literal["complete", "fails alike", "not started"] = "complete"

    @property
    def id(self) -> str:
        """Its name, as pytest takes it."""
        return f"{self.store}-{self.name}".replace(" ", "-").replace("/", "-")


@dataclass(frozen=True)
class Found:
    """What a run of a row came to; `wrong` says in sentences what is not as it should be."""

    kept: int
    rows: tuple[str, ...] | None
    error: str | None
    requests: int
    other: str
    took_s: float
    wrong: tuple[str, ...]
