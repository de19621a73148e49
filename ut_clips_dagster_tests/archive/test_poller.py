"""The poller sends what the scheduler says, within the budget, and hands out each answer as an event."""

from collections.abc import Callable

import httpx
import pytest
from pydantic import SecretStr

from ut_clips_dagster.archive.documents import ListedClip
from ut_clips_dagster.archive.poller import (
    LINK_LIFE,
    LOOK_EVERY_S,
    Batch,
    ClipGivenUp,
    ClipPoller,
    LinkIssued,
    PollEvent,
    SessionListed,
)
from ut_clips_dagster.archive.scheduler import PollingPolicy
from ut_clips_dagster.errors import (
    BudgetExhaustedError,
    ClipGenerationError,
    ClipNotReadyError,
    InvalidAnswerError,
    NotFoundError,
)
from ut_clips_dagster.results_api.models import ClipDetails, ClipListing, ClipStatus
from ut_clips_dagster.results_api.pacing import PacedTransport, Pacer
from ut_clips_dagster.results_api.window import Window

CLIP = ListedClip.model_construct(clip_uuid="00000000-0000-0000-0000-00000000000a")
OTHER = "00000000-0000-0000-0000-00000000000b"
GENERATING, ERROR = ClipStatus.GENERATING, ClipStatus.ERROR


class Desk:
    """An API on a clock that only sleeping moves: ten requests a minute, generation by a function of the request."""

    def __init__(self, answer: Callable[[int], ClipStatus | Exception], budget: int = 10, reset_s: int = 9) -> None:
        self.now = 0.0
        self.asked: list[tuple[float, str]] = []
        self.pacer = Pacer(lambda: self.now, self.sleep, Window(jitter=lambda: 0.0))
        self.listing: ClipListing | Exception = ClipListing(study_uuid=OTHER, clips=())
        self.clip_uuid = CLIP.clip_uuid
        self.url: SecretStr | None = SecretStr("https://media.test/clip?signature=secret")
        self._answer = answer
        self._left = budget
        self._reset_s = reset_s
        self._transport = PacedTransport(httpx.MockTransport(self._count), self.pacer)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def list_clips(self, session_id: str) -> ClipListing:
        self._send(session_id)
        if isinstance(self.listing, Exception):
            raise self.listing
        return self.listing

    def request_clip(self, session_id: str, clip_uuid: str) -> ClipDetails:
        self._send(f"{session_id}/{clip_uuid}")
        status = self._answer(len(self.asked))
        if isinstance(status, Exception):
            raise status
        url = self.url if status is ClipStatus.GENERATED else None
        return ClipDetails(clip_uuid=self.clip_uuid, status=status, clip_url=url)

    def _send(self, what: str) -> None:
        self._transport.handle_request(httpx.Request("GET", f"http://api.test/{what}"))
        self.asked.append((self.now, what))

    def _count(self, _: httpx.Request) -> httpx.Response:
        self._left -= 1
        return httpx.Response(
            200,
            headers={
                "x-ratelimit-limit": "10",
                "x-ratelimit-remaining": str(self._left),
                "x-ratelimit-reset": str(self._reset_s),
            },
        )


def after(requests: int) -> Callable[[int], ClipStatus]:
    return lambda asked: ClipStatus.GENERATED if asked > requests else GENERATING


def poller(desk: Desk, batch: Batch | None = None) -> ClipPoller:
    return ClipPoller(
        desk,  # type: ignore[arg-type]  # what the poller needs of it
        PollingPolicy(),
        lambda: desk.now,
        sleep=desk.sleep,
        batch=batch,
    )


def events(made: ClipPoller) -> list[PollEvent]:
    found: list[PollEvent] = []
    while (outcome := made.step()) is not None:
        if isinstance(outcome, float):
            made.sleep(outcome)
        else:
            found.append(outcome)
    return found


class TestOneClip:
    def test_its_link_comes_as_soon_as_a_poll_finds_it_generated(self) -> None:
        desk = Desk(after(2))
        link = poller(desk).poll_clip("s", CLIP)
        assert [at for at, _ in desk.asked] == [0, 3, 9]
        assert (link.attempts, link.waited_s) == (3, 9)
        assert link.expires_at - link.issued_at == LINK_LIFE

    def test_a_clip_generated_long_ago_needs_one_request(self) -> None:
        assert poller(Desk(after(0))).poll_clip("s", CLIP).attempts == 1

    def test_the_link_shows_in_no_repr(self) -> None:
        assert "secret" not in repr(poller(Desk(after(0))).poll_clip("s", CLIP))

    def test_after_ten_requests_it_is_given_up_with_what_to_do_next(self) -> None:
        desk = Desk(after(99), budget=99)
        with pytest.raises(ClipNotReadyError, match=r"10 requests in 135 s.*UT_CLIPS_POLL_MAX_ATTEMPTS"):
            poller(desk).poll_clip("s", CLIP)
        assert len(desk.asked) == 10

    def test_error_is_tried_three_times(self) -> None:
        desk = Desk(lambda asked: GENERATING if asked % 2 else ERROR)
        with pytest.raises(ClipGenerationError, match="attempt 3 of 3"):
            poller(desk).poll_clip("s", CLIP)
        assert len(desk.asked) == 6

    def test_an_error_that_passes_costs_the_new_attempts_requests(self) -> None:
        answers = [GENERATING, ERROR, GENERATING, ClipStatus.GENERATED]
        assert poller(Desk(lambda asked: answers[asked - 1])).poll_clip("s", CLIP).attempts == 4

    def test_what_the_api_refuses_is_given_up_at_once(self) -> None:
        desk = Desk(lambda _: NotFoundError("gone"))
        with pytest.raises(NotFoundError):
            poller(desk).poll_clip("s", CLIP)
        assert len(desk.asked) == 1

    def test_an_answer_for_another_clip_is_refused(self) -> None:
        desk = Desk(after(0))
        desk.clip_uuid = OTHER
        with pytest.raises(InvalidAnswerError, match=OTHER):
            poller(desk).poll_clip("s", CLIP)

    def test_generated_without_a_link_is_refused(self) -> None:
        desk = Desk(after(0))
        desk.url = None
        with pytest.raises(InvalidAnswerError, match="without a link"):
            poller(desk).poll_clip("s", CLIP)


class TestBatch:
    def test_nothing_to_do_sends_nothing(self) -> None:
        desk = Desk(after(0))
        assert poller(desk).step() is None
        assert desk.asked == []

    def test_a_listing_is_handed_out_and_a_failed_one_too(self) -> None:
        desk = Desk(after(0))
        made = poller(desk)
        made.scheduler.add_session("s")
        assert events(made) == [SessionListed("s", ClipListing(study_uuid=OTHER, clips=()))]
        desk.listing = NotFoundError("no video")
        made.scheduler.add_session("t")
        assert events(made) == [SessionListed("t", desk.listing)]

    def test_one_failing_clip_does_not_stop_the_others(self) -> None:
        desk = Desk(lambda asked: NotFoundError("gone") if asked == 1 else ClipStatus.GENERATED)
        made = poller(desk)
        made.scheduler.add_clip("s", CLIP)
        made.scheduler.add_clip("t", CLIP)
        assert [type(event) for event in events(made)] == [ClipGivenUp, LinkIssued]

    def test_a_dead_link_is_renewed_by_one_request(self) -> None:
        desk = Desk(after(1))
        made = poller(desk)
        made.scheduler.add_clip("s", CLIP)
        (link,) = events(made)
        assert isinstance(link, LinkIssued)
        made.scheduler.add_relink(link.work)
        (again,) = events(made)
        assert isinstance(again, LinkIssued)
        assert (link.attempts, again.attempts, len(desk.asked)) == (2, 3, 3)

    def test_a_batch_leaves_a_window_to_others_first(self) -> None:
        desk = Desk(after(0), budget=6)
        made = poller(desk, Batch())
        for number in range(20):
            made.scheduler.add_session(str(number))
        made.step()
        assert isinstance(delay := made.step(), float)
        assert delay > 5

    def test_a_batch_begins_a_fresh_window_at_once_and_keeps_some_of_it(self) -> None:
        desk = Desk(after(0))
        made = poller(desk, Batch())
        for number in range(20):
            made.scheduler.add_session(str(number))
        assert [type(made.step()) for _ in range(7)] == [SessionListed] * 7
        assert isinstance(made.step(), float)
        assert desk.now == 0

    def test_what_it_keeps_fetches_the_first_clip_as_soon_as_a_lone_ones_third_poll_would(self) -> None:
        desk = Desk(after(7), reset_s=60)
        made = poller(desk, Batch())
        for number in range(20):
            made.scheduler.add_clip(str(number), CLIP)
        while not isinstance(outcome := made.step(), LinkIssued):
            assert isinstance(outcome, float)
            made.sleep(outcome)
        assert [at for at, _ in desk.asked] == [0] * 7 + [9]

    def test_a_batch_sends_nothing_while_somebody_waits(self) -> None:
        desk = Desk(after(0))
        waiting = [True, True, False]
        made = poller(desk, Batch(somebody_waits=lambda: waiting.pop(0)))
        made.scheduler.add_session("s")
        assert [made.step(), made.step()] == [LOOK_EVERY_S, LOOK_EVERY_S]
        assert desk.asked == []
        assert isinstance(made.step(), SessionListed)

    def test_a_batch_with_nothing_left_to_ask_does_not_look_for_others(self) -> None:
        made = poller(Desk(after(0)), Batch(somebody_waits=lambda: True))
        assert made.step() is None

    def test_a_batch_tells_once_that_it_only_waits_for_its_last_clips(self) -> None:
        desk = Desk(after(4), reset_s=60)
        told: list[float] = []
        made = poller(desk, Batch(only_waits=lambda: told.append(desk.now)))
        made.scheduler.add_clip("s", CLIP)
        assert [type(event) for event in events(made)] == [LinkIssued]
        assert told == [18], "the first look after a quarter of a window"

    def test_a_batch_whose_clips_come_soon_does_not(self) -> None:
        told: list[bool] = []
        made = poller(Desk(after(2), reset_s=60), Batch(only_waits=lambda: told.append(True)))
        made.scheduler.add_clip("s", CLIP)
        assert [type(event) for event in events(made)] == [LinkIssued]
        assert told == []

    def test_a_session_by_hand_takes_what_is_there(self) -> None:
        desk = Desk(after(0))
        made = poller(desk)
        for number in range(20):
            made.scheduler.add_session(str(number))
        assert [type(made.step()) for _ in range(10)] == [SessionListed] * 10
        assert made.step() == pytest.approx(9)

    def test_the_last_requests_of_a_batch_that_fit_in_the_window_are_sent_at_once(self) -> None:
        desk = Desk(after(0))
        made = poller(desk, Batch())
        for number in range(3):
            made.scheduler.add_clip(str(number), CLIP)
        assert [type(made.step()) for _ in range(3)] == [LinkIssued] * 3
        assert desk.now == 0

    def test_a_reset_beyond_all_patience_gives_the_work_up(self) -> None:
        desk = Desk(after(0))
        desk.pacer.observe(429, {"retry-after": "3000"})
        made = poller(desk)
        made.scheduler.add_clip("s", CLIP)
        (event,) = events(made)
        assert isinstance(event, ClipGivenUp)
        assert isinstance(event.error, BudgetExhaustedError)
        assert desk.now < 900
