"""When a request may be sent: the rules of the pacer and its transport, on a clock that only sleeping moves."""

import math
from itertools import cycle

import httpx
import pytest

from ut_clips_dagster.errors import BudgetExhaustedError
from ut_clips_dagster.results_api.pacing import MAX_WAIT_S, Operation, PacedTransport, Pacer
from ut_clips_dagster.results_api.window import Window


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pacer(clock: Clock) -> Pacer:
    return Pacer(clock, clock.sleep, Window(jitter=lambda: 0.05))


def counters(remaining: int, reset: int, limit: int = 10) -> dict[str, str]:
    return {
        "x-ratelimit-limit": str(limit),
        "x-ratelimit-remaining": str(remaining),
        "x-ratelimit-reset": str(reset),
    }


def send(pacer: Pacer, remaining: int, reset: int, limit: int = 10) -> None:
    pacer.acquire()
    pacer.observe(200, counters(remaining, reset, limit))
    pacer.delay_s()  # the poller looks at once: what passes after that is not the request's time


def transport(pacer: Pacer, *answers: httpx.Response) -> tuple[PacedTransport, list[httpx.Request]]:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return answers[min(len(sent), len(answers)) - 1]

    return PacedTransport(httpx.MockTransport(answer), pacer), sent


LIST, REQUEST = Operation.LIST_CLIPS, Operation.REQUEST_CLIP
GET = httpx.Request("GET", "http://api.test/")


class TestWindow:
    def test_the_first_request_is_sent_at_once(self, pacer: Pacer) -> None:
        assert pacer.delay_s() == 0

    def test_requests_follow_each_other_at_once_while_some_are_left(self, pacer: Pacer, clock: Clock) -> None:
        for left in range(9, -1, -1):
            send(pacer, left, 60)
        assert clock.slept == []

    def test_at_0_it_waits_for_the_end_of_the_window(self, pacer: Pacer, clock: Clock) -> None:
        send(pacer, 0, 37)
        pacer.acquire()
        assert clock.slept == [37]

    def test_the_end_is_the_earliest_that_any_answer_told_since_reset_is_rounded_up(
        self, pacer: Pacer, clock: Clock
    ) -> None:
        send(pacer, 1, 60)  # at 1000: ends by 1060
        clock.now = 1000.9
        send(pacer, 0, 59)  # ends by 1059.9
        assert pacer.delay_s() == pytest.approx(59.0)
        clock.now = 1001.0
        pacer.observe(200, counters(0, 59))  # 1060 again: already known better
        assert pacer.delay_s() == pytest.approx(58.9)

    def test_after_the_end_all_requests_are_there_again(self, pacer: Pacer, clock: Clock) -> None:
        send(pacer, 0, 60)
        assert pacer.available() == 0
        clock.now += 60
        assert pacer.available() == 10
        send(pacer, 9, 60)
        assert pacer.available() == 9

    def test_answers_out_of_order_never_give_requests_back(self, pacer: Pacer) -> None:
        pacer.observe(200, counters(3, 50))
        pacer.observe(200, counters(5, 50))
        assert pacer.available() == 3

    def test_a_limit_other_than_ten_is_taken_from_the_answers(self, pacer: Pacer, clock: Clock) -> None:
        send(pacer, 24, 5, limit=25)
        assert (pacer.shared.limit, pacer.shared.period_s) == (25, 5)
        clock.now += 5
        assert pacer.available() == 25

    @pytest.mark.parametrize("headers", [{}, {"x-ratelimit-remaining": "many", "x-ratelimit-reset": "-"}])
    def test_answers_without_readable_counters_do_not_stop_it(self, pacer: Pacer, headers: dict[str, str]) -> None:
        for _ in range(12):
            pacer.acquire()
            pacer.observe(200, headers)
        assert pacer.requests_sent == 12

    def test_without_waiting_it_raises_at_once(self, pacer: Pacer, clock: Clock) -> None:
        pacer.waiting = False
        send(pacer, 0, 30)
        with pytest.raises(BudgetExhaustedError, match="next request in 30 s"):
            pacer.acquire()
        assert clock.slept == []

    def test_a_wait_beyond_the_bound_is_not_begun(self, pacer: Pacer, clock: Clock) -> None:
        send(pacer, 0, int(MAX_WAIT_S) + 1)
        with pytest.raises(BudgetExhaustedError):
            pacer.acquire()
        assert clock.slept == []


class TestRefused:
    @pytest.mark.parametrize(
        ("headers", "wait_s"),
        [
            (counters(0, 12), 12),
            ({"retry-after": "7"}, 7),
            (counters(0, 12) | {"retry-after": "7"}, 12),
            (counters(0, 0) | {"retry-after": "7"}, 7),
            ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, 60),
            ({}, 60),
        ],
    )
    def test_a_429_waits_for_the_reset_else_retry_after_else_a_minute(
        self, pacer: Pacer, headers: dict[str, str], wait_s: float
    ) -> None:
        pacer.acquire()
        pacer.observe(429, headers)
        assert pacer.delay_s() == pytest.approx(wait_s + 0.05)

    def test_a_429_without_headers_waits_for_the_reset_known_before(self, pacer: Pacer, clock: Clock) -> None:
        send(pacer, 5, 60)
        clock.now += 20
        pacer.acquire()
        pacer.observe(429, {})
        assert pacer.delay_s() == pytest.approx(40.05)

    def test_after_the_known_window_a_429_without_headers_waits_a_whole_period(
        self, pacer: Pacer, clock: Clock
    ) -> None:
        send(pacer, 9, 6)
        clock.now += 7
        pacer.acquire()
        pacer.observe(429, {})
        assert pacer.delay_s() == pytest.approx(6.05)

    def test_the_transport_sends_a_refused_request_again(self, pacer: Pacer, clock: Clock) -> None:
        paced, sent = transport(pacer, httpx.Response(429, headers=counters(0, 9)), httpx.Response(200))
        assert paced.handle_request(GET).status_code == 200
        assert (len(sent), clock.slept) == (2, [pytest.approx(9.05)])

    def test_other_statuses_are_not_the_pacers_business(self, pacer: Pacer) -> None:
        paced, sent = transport(pacer, httpx.Response(503))
        assert paced.handle_request(GET).status_code == 503
        assert len(sent) == 1

    def test_without_waiting_a_429_raises_after_one_request(self, pacer: Pacer, clock: Clock) -> None:
        pacer.waiting = False
        paced, sent = transport(pacer, httpx.Response(429, headers=counters(0, 9)))
        with pytest.raises(BudgetExhaustedError):
            paced.handle_request(GET)
        assert (len(sent), clock.slept) == (1, [])

    def test_when_every_answer_is_429_it_gives_up_within_the_bound_of_all_waits(
        self, pacer: Pacer, clock: Clock
    ) -> None:
        paced, sent = transport(pacer, httpx.Response(429, headers=counters(0, 60)))
        with pytest.raises(BudgetExhaustedError):
            paced.handle_request(GET)
        assert sum(clock.slept) <= MAX_WAIT_S
        assert len(sent) == 15

    def test_closing_closes_what_is_beneath(self, pacer: Pacer) -> None:
        class Inner(httpx.BaseTransport):
            closed = False

            def close(self) -> None:
                self.closed = True

        inner = Inner()
        PacedTransport(inner, pacer).close()
        assert inner.closed


class TestSpread:
    """A batch: one request opens the window, the others follow in its last quarter."""

    @pytest.fixture(autouse=True)
    def batch(self, pacer: Pacer) -> None:
        pacer.shared.spread = True

    def test_the_window_is_left_to_others_until_its_last_quarter(self, pacer: Pacer) -> None:
        send(pacer, 9, 60)
        assert pacer.delay_s() == pytest.approx(60 - 1 - 15 * 0.9)

    def test_in_the_last_quarter_all_that_is_left_is_used_evenly_before_the_reset(
        self, pacer: Pacer, clock: Clock
    ) -> None:
        sent_at = []
        for left in range(9, -1, -1):
            pacer.acquire()
            sent_at.append(clock.now - 1000)
            pacer.observe(200, counters(left, int(60 - sent_at[-1])))
        assert sent_at == pytest.approx([0, *(59 - 1.5 * left for left in range(9, 0, -1))], abs=1)
        assert sent_at[-1] < 59

    @pytest.mark.parametrize("first_told", [9, 8, 0])
    def test_it_opens_the_next_window_at_once(self, pacer: Pacer, clock: Clock, first_told: int) -> None:
        send(pacer, first_told, 60)
        clock.now += 60
        assert pacer.delay_s() == 0

    def test_what_others_used_meanwhile_is_not_asked_for(self, pacer: Pacer, clock: Clock) -> None:
        send(pacer, 9, 60)
        clock.now += 46
        send(pacer, 0, 14)
        assert pacer.delay_s() == pytest.approx(14)

    def test_two_batches_in_turn_stop_at_1(self, pacer: Pacer, clock: Clock) -> None:
        send(pacer, 9, 60)
        for left in (7, 5, 3):
            clock.now = 1000 + 46 + (9 - left)
            send(pacer, left, 14 - (9 - left))
        assert pacer.delay_s() < 5, "3 left, of which the other takes one"
        clock.now = 1058
        send(pacer, 1, 2)
        assert pacer.delay_s() == pytest.approx(2), "the last one is the other's"

    def test_a_passer_by_costs_it_what_is_left_of_one_window(self, pacer: Pacer, clock: Clock) -> None:
        send(pacer, 9, 60)
        clock.now += 46
        send(pacer, 3, 14)  # five by a passer-by
        assert pacer.delay_s() == pytest.approx(14)
        clock.now += 14
        send(pacer, 9, 60)
        clock.now += 46
        send(pacer, 8, 14)  # nobody else any more
        assert pacer.delay_s() < 2

    def test_a_refused_batch_stops_earlier_in_the_next_window(self, pacer: Pacer, clock: Clock) -> None:
        send(pacer, 3, 14)
        clock.now += 12
        pacer.acquire()
        pacer.observe(429, counters(0, 2))
        clock.now += 60
        send(pacer, 2, 2)
        assert pacer.delay_s() == pytest.approx(2)

    def test_a_window_nobody_else_uses_is_never_given_up_for_long(self, pacer: Pacer, clock: Clock) -> None:
        send(pacer, 0, 60)  # eight or nine others, it seems
        clock.now += 60
        used = []
        for _ in range(4):
            clock.sleep(pacer.delay_s())
            ends_at, left = clock.now + 60, 10
            while left and clock.now + pacer.delay_s() < ends_at:
                pacer.acquire()
                left -= 1
                pacer.observe(200, counters(left, math.ceil(ends_at - clock.now)))
            used.append(10 - left)
            clock.now = max(clock.now, ends_at)
        assert used[-1] == 10

    def test_two_batches_that_leave_all_to_each_other_find_out(self, clock: Clock) -> None:
        """Each joined a window used up by a third, now gone; each sends too seldom to see the other."""
        batches = [Pacer(clock, clock.sleep, Window(jitter=lambda: 0.05, spread=True)) for _ in range(2)]
        for batch in batches:
            batch.acquire()
            batch.observe(200, counters(0, 30))
        clock.now += 30
        used, ends_at = [], 0.0
        while len(used) <= 6:
            turn = min(batches, key=Pacer.delay_s)
            clock.sleep(turn.delay_s())
            turn.acquire()
            if clock.now >= ends_at:
                ends_at = clock.now + 60
                used.append(0)
            used[-1] += 1
            turn.observe(200, counters(10 - used[-1], math.ceil(ends_at - clock.now)))
            clock.now += 0.15
        assert used[:6] == [10] * 6

    def test_requests_that_take_long_begin_earlier(self, pacer: Pacer, clock: Clock) -> None:
        for left in range(9, 4, -1):
            pacer.acquire()
            clock.now += 4
            pacer.observe(200, counters(left, 60 - 4 * (9 - left)))
        assert pacer.shared._late_s > 40

    @pytest.mark.parametrize("period_s", [1, 2, 3, 6])
    def test_short_windows_are_spent_before_they_end(self, pacer: Pacer, clock: Clock, period_s: int) -> None:
        send(pacer, 9, period_s)
        for left in range(8, -1, -1):
            pacer.acquire()
            assert clock.now < 1000 + period_s
            pacer.observe(200, counters(left, max(1, period_s - int(clock.now - 1000))))

    @pytest.mark.parametrize("limit", [1, 2, 3])
    def test_small_limits_are_respected(self, pacer: Pacer, limit: int) -> None:
        send(pacer, 0, 60, limit=limit)
        assert pacer.delay_s() == pytest.approx(60)

    def test_an_interactive_run_takes_what_is_there(self, pacer: Pacer) -> None:
        pacer.shared.spread = False
        send(pacer, 1, 60)
        assert pacer.delay_s() == 0


class TestOperations:
    """Whether the API counts for the account or for each operation is not documented: its answers tell."""

    def test_all_operations_share_a_window_while_nothing_says_otherwise(self, pacer: Pacer) -> None:
        for left, operation in zip(range(9, -1, -1), cycle(Operation)):
            pacer.acquire(operation)
            pacer.observe(200, counters(left, 60), operation)
        assert [pacer.delay_s(operation) for operation in Operation] == [60] * len(Operation)

    def test_two_counters_that_both_go_down_show_that_they_are_counted_apart(self, pacer: Pacer) -> None:
        for left, operation in [(1, REQUEST), (8, LIST), (0, REQUEST)]:
            pacer.observe(200, counters(left, 60 if operation is REQUEST else 55), operation)
        assert pacer.delay_s(REQUEST) == 60
        assert (pacer.delay_s(LIST), pacer.available(LIST)) == (0, 8)
        assert (pacer.delay_s(Operation.LIST_SESSIONS), pacer.available(Operation.LIST_SESSIONS)) == (0, 10)

    def test_one_operation_never_gives_itself_requests_back(self, pacer: Pacer) -> None:
        for left in (0, 5):
            pacer.observe(200, counters(left, 60), REQUEST)
        assert pacer.delay_s(LIST) == 60

    @pytest.mark.parametrize("slept_s", [1, 20, 50])
    @pytest.mark.parametrize("then", [[9, 8, 7, 6], [4, 3, 2, 1]], ids=["alone", "beside others"])
    def test_a_machine_that_slept_into_the_next_window_draws_no_conclusion(
        self, pacer: Pacer, clock: Clock, slept_s: int, then: list[int]
    ) -> None:
        """A monotonic clock stands still meanwhile, so the next window seems to begin before the old one's end."""
        pacer.observe(200, counters(3, 60), LIST)
        pacer.observe(200, counters(2, 60), REQUEST)
        for left, operation in zip(then, cycle([REQUEST, LIST])):
            clock.now += 1
            pacer.observe(200, counters(left, 60 - slept_s), operation)
        assert pacer.window(LIST) is pacer.window(REQUEST)

    def test_in_the_second_in_which_a_window_may_be_over_already_nothing_is_shown(
        self, pacer: Pacer, clock: Clock
    ) -> None:
        """`reset` is rounded up, so a window may end up to a second before the time it told."""
        pacer.observe(200, counters(2, 60), REQUEST)
        clock.now += 59.5
        for left, operation in [(9, LIST), (8, REQUEST), (7, LIST)]:
            pacer.observe(200, counters(left, 60), operation)
        assert pacer.window(LIST) is pacer.window(REQUEST)


class TestFresh:
    """The first window that a process sees is fresh when hardly anybody used it."""

    @pytest.mark.parametrize(("first_told", "is_fresh"), [(9, True), (7, True), (6, False), (0, False)])
    def test_only_a_window_hardly_used_is(self, clock: Clock, first_told: int, is_fresh: bool) -> None:
        window = Window()
        window.observe(clock.now, 200, counters(first_told, 60))
        assert window.is_fresh(clock.now + 59) == is_fresh

    def test_only_the_first_is(self, clock: Clock) -> None:
        window = Window()
        assert not window.is_fresh(clock.now), "nothing is known yet"
        window.observe(clock.now, 200, counters(9, 60))
        window.observe(clock.now + 60, 200, counters(9, 60))
        assert not window.is_fresh(clock.now + 60)
