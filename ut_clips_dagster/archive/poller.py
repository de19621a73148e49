"""Lists sessions and polls clips, bounded, and hands out each answer the moment it is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import SecretStr

from ut_clips_dagster.archive.documents import ListedClip
from ut_clips_dagster.archive.scheduler import (
    GENERATION_ATTEMPTS,
    Budget,
    ClipWork,
    ListSession,
    PollingPolicy,
    RequestClip,
    Scheduler,
    WaitUntil,
)
from ut_clips_dagster.errors import (
    ClipGenerationError,
    ClipNotReadyError,
    ClipsError,
    InvalidAnswerError,
    as_ours,
)
from ut_clips_dagster.results_api.client import ResultsApi
from ut_clips_dagster.results_api.models import ClipDetails, ClipListing, ClipStatus, now_utc
from ut_clips_dagster.results_api.pacing import MAX_WAIT_S, Operation
from ut_clips_dagster.results_api.window import Window

POLLED = (Operation.LIST_CLIPS, Operation.REQUEST_CLIP)
KEPT_SHARE = 0.3
"""Share of a fresh window that a batch keeps to fetch its first clips with, as soon as they are generated."""
LAST_CLIPS_SHARE = 0.25
"""A batch that waits for its last clips for longer than this share of a window makes room for the next: another at the
same time costs refused requests, which most batches, done sooner, would pay for nothing (docs/benchmarks.md)."""
LOOK_EVERY_S = 1.0
"""How often a batch that gives way looks whether somebody still waits."""
LINK_LIFE = timedelta(minutes=15)
"""Validity of a clip's link (OpenAPI document)."""


@dataclass(frozen=True)
class SessionListed:
    """The API's answer to a session's list request, or why there is none."""

    session_id: str
    answer: ClipListing | ClipsError


@dataclass(frozen=True)
class LinkIssued:
    """A clip's link, valid now; use it at once and keep it nowhere."""

    session_id: str
    clip: ListedClip
    url: SecretStr
    attempts: int
    waited_s: float
    issued_at: datetime
    work: ClipWork

    @property
    def expires_at(self) -> datetime:
        """When the link dies."""
        return self.issued_at + LINK_LIFE


@dataclass(frozen=True)
class ClipGivenUp:
    """No link for a clip, and why."""

    session_id: str
    clip: ListedClip
    error: ClipsError
    attempts: int
    waited_s: float


PollEvent = SessionListed | LinkIssued | ClipGivenUp


@dataclass(frozen=True)
class Batch:
    """What a batch asks and tells those beside it.

    Attributes:
        somebody_waits: whether somebody waits for a session by hand; it looks before each request, and gives way.
        only_waits: told once when all clips have been started for a while, and the last are generated still: the next
            batch may begin.
    """

    somebody_waits: Callable[[], bool] = lambda: False
    only_waits: Callable[[], None] = lambda: None


class ClipPoller:
    """Sends one request at a time, as the scheduler and the budget allow.

    Args:
        api: the client; its pacer says when a request may be sent.
        policy: bounds of polling one clip.
        clock: monotonic seconds.
        sleep: how to wait.
        batch: spend a fresh window at once, so that the first clips are there in seconds, and the others late, so
            that whoever else asks finds them there until then. None, a session by hand: always at once.
    """

    def __init__(
        self,
        api: ResultsApi,
        policy: PollingPolicy,
        clock: Callable[[], float] = time.monotonic,
        *,
        sleep: Callable[[float], None] = time.sleep,
        batch: Batch | None = None,
    ) -> None:
        self.sleep = sleep
        self._api = api
        self._policy = policy
        self._clock = clock
        self._batch = batch
        self._all_begun_at: float | None = None
        self._told_that_it_only_waits = False
        self.scheduler = Scheduler(policy)

    @property
    def requests_sent(self) -> int:
        """Requests sent by this process so far, repeated ones included."""
        return self._api.pacer.requests_sent

    def sleep_by(self, sleeping: Callable[[Callable[[float], None]], Callable[[float], None]]) -> None:
        """Let every wait of this process for the API, also those beneath a request, be one that `sleeping` makes."""
        self.sleep = sleeping(self.sleep)
        self._api.pacer.sleep = sleeping(self._api.pacer.sleep)

    def poll_clip(self, session_id: str, clip: ListedClip) -> LinkIssued:
        """One clip's link: request, wait, ask again with growing delays, stop after the last attempt.

        Raises:
            ClipNotReadyError: still generating after the last attempt.
            ClipGenerationError: ERROR after the last of three generation attempts.
            ResultsApiError: the API could not be asked.
        """
        alone = ClipPoller(self._api, self._policy, self._clock, sleep=self.sleep)
        alone.scheduler.add_clip(session_id, clip)
        while True:
            event = alone.step()
            if isinstance(event, LinkIssued):
                return event
            if isinstance(event, ClipGivenUp):
                raise event.error
            if isinstance(event, float):
                self.sleep(event)

    def step(self) -> PollEvent | float | None:
        """Send at most one request.

        Returns:
            what came of it; or the seconds to wait before the next step is worth while (0 when a request was sent
            and only moved things on); or None when nothing is left to ask for.
        """
        pacer, scheduler, now = self._api.pacer, self.scheduler, self._clock()
        window = pacer.window(Operation.REQUEST_CLIP)
        scheduler.budget = Budget(window.limit, window.period_s)
        ahead = {Operation.LIST_CLIPS: scheduler.lists_ahead(), Operation.REQUEST_CLIP: scheduler.requests_ahead()}
        if self._batch:
            self._tell_when_it_only_waits(self._batch, now, window.period_s)
        if self._batch and any(ahead.values()) and self._batch.somebody_waits():
            return LOOK_EVERY_S
        for operation in POLLED:
            in_window = sum(n for o, n in ahead.items() if pacer.window(o) is pacer.window(operation))
            kept = KEPT_SHARE * window.limit if pacer.window(operation).is_fresh(now) else window.limit
            left = pacer.available(operation)
            pacer.window(operation).spread = self._batch is not None and in_window > left and left <= kept
        # what would wait longer than the pacer does is sent on, to be refused by it
        waits = {o: s if 0 < (s := pacer.delay_s(o)) <= MAX_WAIT_S else 0 for o in POLLED}
        if any(ahead.values()) and (wait_s := min(waits.values())):
            return self._first_pick_up(window, now, wait_s)
        action = scheduler.next_action(
            now, may_list=not waits[Operation.LIST_CLIPS], may_request=not waits[Operation.REQUEST_CLIP]
        )
        match action:
            case None:
                return None
            case WaitUntil(at):
                return max(min([at - now, *filter(None, waits.values())]), 0.001)
            case ListSession(session_id):
                return self._list(session_id)
            case RequestClip(work):
                return self._request(work)

    def _tell_when_it_only_waits(self, batch: Batch, now: float, period_s: float) -> None:
        if self.scheduler.starts_ahead():
            self._all_begun_at = None
            return
        self._all_begun_at = now if self._all_begun_at is None else self._all_begun_at
        if not self._told_that_it_only_waits and now >= self._all_begun_at + LAST_CLIPS_SHARE * period_s:
            batch.only_waits()
            self._told_that_it_only_waits = True

    def _first_pick_up(self, window: Window, now: float, wait_s: float) -> PollEvent | float:
        """Fetch a clip with what is kept of a fresh window; else wait for so long."""
        if not self._batch or not window.is_fresh(now) or not window.available(now):
            return wait_s
        match self.scheduler.first_pick_up(now):
            case RequestClip(work):
                window.spread = False
                return self._request(work)
            case WaitUntil(at):
                return max(min(wait_s, at - now), 0.001)
        return wait_s

    def _list(self, session_id: str) -> SessionListed:
        try:
            return SessionListed(session_id, self._api.list_clips(session_id))
        except Exception as error:  # noqa: BLE001 - whatever an answer does to us costs its session, and is reported
            return SessionListed(session_id, as_ours(error))

    def _request(self, work: ClipWork) -> PollEvent | float:
        work.requests += 1
        if work.first_started_at is None:
            work.first_started_at = self._clock()
        try:
            details = self._ask(work)
        except Exception as error:  # noqa: BLE001 - the same for a clip
            return self._given_up(work, as_ours(error))
        now = self._clock()
        what = f"Clip {work.clip.clip_uuid} of session {work.session_id}"
        if details.status is ClipStatus.GENERATED and details.clip_url is not None:
            self.scheduler.generated(work, now)
            return LinkIssued(
                work.session_id, work.clip, details.clip_url, work.requests, self._waited_s(work), now_utc(), work
            )
        if details.status is ClipStatus.GENERATING:
            if self.scheduler.still_generating(work, now):
                return 0.0
            return self._given_up(
                work,
                ClipNotReadyError(
                    f"{what} was still GENERATING after {work.requests} requests in {self._waited_s(work):.0f} s. "
                    "It is tried again by the sensors; raise UT_CLIPS_POLL_MAX_ATTEMPTS if clips often take that long."
                ),
            )
        if self.scheduler.failed(work):
            return 0.0
        return self._given_up(
            work,
            ClipGenerationError(
                f"{what}: the Results API answered ERROR after attempt {GENERATION_ATTEMPTS} of {GENERATION_ATTEMPTS}. "
                "It is tried again by the sensors; if it stays, open the clip at UserTesting."
            ),
        )

    def _ask(self, work: ClipWork) -> ClipDetails:
        clip_uuid = work.clip.clip_uuid
        details = self._api.request_clip(work.session_id, clip_uuid)
        if details.clip_uuid != clip_uuid:
            raise InvalidAnswerError(
                f"The Results API answered for clip {details.clip_uuid} when asked for {clip_uuid}."
            )
        if details.status is ClipStatus.GENERATED and details.clip_url is None:
            raise InvalidAnswerError(f"The Results API says clip {clip_uuid} is GENERATED, without a link.")
        return details

    def _given_up(self, work: ClipWork, error: ClipsError) -> ClipGivenUp:
        return ClipGivenUp(work.session_id, work.clip, error, work.requests, self._waited_s(work))

    def _waited_s(self, work: ClipWork) -> float:
        return 0.0 if work.first_started_at is None else round(self._clock() - work.first_started_at, 3)
