"""The order of work, what is learned of generation times, and the bounds: no clock, no network."""

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ut_clips_dagster.archive.documents import ListedClip
from ut_clips_dagster.archive.generation_times import GenerationTimes
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

POLICY = PollingPolicy(interval_s=3, max_attempts=10)
PRIOR_S = POLICY.patience_s(4)


def clip(name: str) -> ListedClip:
    return ListedClip.model_construct(clip_uuid=name)


def scheduler(*clips: str, sessions: int = 0) -> Scheduler:
    made = Scheduler(POLICY)
    for number in range(sessions):
        made.add_session(f"s{number}")
    for name in clips:
        made.add_clip("s", clip(name))
    return made


def take(made: Scheduler, now: float) -> ClipWork:
    action = made.next_action(now)
    assert isinstance(action, RequestClip)
    return action.work


def start(made: Scheduler, now: float) -> ClipWork:
    work = take(made, now)
    assert made.still_generating(work, now)
    return work


class TestOrder:
    def test_nothing_known_is_nothing_to_do(self) -> None:
        assert scheduler().next_action(0) is None

    def test_clips_are_started_before_further_sessions_are_listed(self) -> None:
        made = scheduler("a", sessions=2)
        start(made, 0)
        assert made.next_action(0) == ListSession("s0")
        assert made.next_action(0) == ListSession("s1")

    def test_a_clip_that_is_likely_done_comes_before_new_starts(self) -> None:
        made = scheduler(*map(str, range(40)), sessions=20)
        first = start(made, 0)
        assert take(made, PRIOR_S) is first

    def test_of_several_likely_done_the_oldest_comes_first(self) -> None:
        made = scheduler(*map(str, range(40)), sessions=20)
        works = [start(made, second) for second in range(3)]
        assert [take(made, PRIOR_S + 5) for _ in works] == works

    def test_a_clip_is_not_asked_for_before_it_is_likely_done_while_other_work_waits(self) -> None:
        made = scheduler(*map(str, range(40)), sessions=20)
        first = start(made, 0)
        assert take(made, PRIOR_S - 1) is not first

    def test_towards_the_end_all_is_started_first(self) -> None:
        made = scheduler("a", "b", "c")
        start(made, 0)
        assert take(made, PRIOR_S).clip.clip_uuid == "b"

    @pytest.mark.parametrize(("limit", "starts_first"), [(10, False), (100, True)])
    def test_the_end_begins_when_the_pick_ups_left_barely_fill_one_generation(
        self, limit: int, *, starts_first: bool
    ) -> None:
        made = scheduler(*map(str, range(40)))
        made.budget = Budget(limit, 60)
        first = start(made, 0)
        assert (take(made, PRIOR_S) is not first) == starts_first

    def test_a_dead_link_is_renewed_before_anything_else(self) -> None:
        made = scheduler("a", "b")
        work = start(made, 0)
        assert take(made, 1).clip.clip_uuid == "b"
        made.add_relink(work)
        assert take(made, 1) is work

    def test_sessions_not_listed_yet_can_be_left(self) -> None:
        made = scheduler(sessions=3)
        made.next_action(0)
        assert made.drop_unlisted() == ["s1", "s2"]
        assert made.next_action(0) is None


class TestCountedApart:
    """Where the API counts lists and clips each on their own, one goes on while the other waits for its budget."""

    def test_lists_are_sent_while_clips_wait(self) -> None:
        made = scheduler("a", sessions=1)
        assert made.next_action(0, may_request=False) == ListSession("s0")
        assert made.next_action(0, may_request=False) == WaitUntil(math.inf)
        assert take(made, 0).clip.clip_uuid == "a"

    def test_clips_are_picked_up_while_lists_wait(self) -> None:
        made = scheduler("a", sessions=1)
        work = start(made, 0)
        assert made.next_action(0, may_list=False) == WaitUntil(POLICY.delay_s(1))
        action = made.next_action(PRIOR_S, may_list=False)
        assert action == RequestClip(work)
        made.generated(work, PRIOR_S)
        assert made.next_action(PRIOR_S, may_list=False) == WaitUntil(math.inf)
        assert made.next_action(PRIOR_S) == ListSession("s0")

    def test_lists_do_not_run_far_ahead_of_the_requests_for_clips(self) -> None:
        """What a list says grows old until its clips are asked for."""
        made = scheduler(*map(str, range(Budget().limit - 1)), sessions=2)
        assert made.next_action(0, may_request=False) == ListSession("s0")
        made.add_clip("s0", clip("another"))
        assert made.next_action(0, may_request=False) == WaitUntil(math.inf)


class TestAlone:
    """A session by hand: the budget would go unused otherwise, so one clip is a probe."""

    def test_the_probe_is_asked_with_linear_back_off(self) -> None:
        made = scheduler("a")
        work, now, asked = start(made, 0), 0.0, []
        while len(asked) < 9:
            action = made.next_action(now)
            if isinstance(action, WaitUntil):
                now = action.at
                continue
            asked.append(now)
            made.still_generating(work, now)
        assert asked == [POLICY.patience_s(n) for n in range(1, 10)]

    def test_only_one_clip_is_asked_at_a_time(self) -> None:
        made = scheduler("a", "b", "c")
        for _ in range(3):
            start(made, 0)
        made.still_generating(take(made, 3), 3)
        assert made.next_action(3) == WaitUntil(9)

    def test_the_next_probe_is_another_clip_so_that_a_slow_one_holds_up_no_one(self) -> None:
        made = scheduler("a", "b")
        works = [start(made, 0), start(made, 0)]
        made.still_generating(take(made, 3), 3)
        assert take(made, 9) is works[1]

    def test_the_others_are_asked_as_soon_as_the_probe_taught_the_time(self) -> None:
        made = scheduler("a", "b", "c")
        works = [start(made, 0) for _ in range(3)]
        made.still_generating(take(made, 3), 3)
        made.generated(take(made, 9), 9)
        assert {take(made, 9).clip.clip_uuid, take(made, 9).clip.clip_uuid} == {"a", "c"}
        assert works[1].clip.clip_uuid == "b"

    def test_early_polls_of_a_long_batch_keep_a_distance_of_its_fortieth_part(self) -> None:
        made = scheduler("a", "b")
        start(made, 0)
        start(made, 4000)
        made.still_generating(take(made, 4000), 4000)
        made.still_generating(take(made, 4003 + 100), 4103)
        action = made.next_action(4103)
        assert isinstance(action, WaitUntil)
        assert action.at - 4103 > 20

    def test_they_follow_each_other_while_they_find_clips_ready(self) -> None:
        """Else a time learned too long would never be unlearned: clips are only asked for when they are that old."""
        made = scheduler("a", "b", "c")
        start(made, 0), start(made, 1000), start(made, 2000)
        made.still_generating(take(made, 2000), 2000)
        made.generated(take(made, 4000), 4000)
        made.generated(take(made, 4003), 4003)
        assert take(made, 4006).started_at == 2000


class TestBounds:
    def test_after_the_last_poll_a_clip_is_given_up(self) -> None:
        made = scheduler("a")
        work = take(made, 0)
        assert [made.still_generating(work, n) for n in range(10)] == [True] * 9 + [False]

    def test_a_single_poll_is_only_the_start(self) -> None:
        made = Scheduler(PollingPolicy(3, 1))
        made.add_clip("s", clip("a"))
        assert not made.still_generating(take(made, 0), 0)
        assert made.next_action(1) is None

    def test_error_starts_a_new_attempt_three_times_in_all(self) -> None:
        made = scheduler("a")
        work = take(made, 0)
        assert [made.failed(work) for _ in range(3)] == [True, True, False]
        assert work.generation == GENERATION_ATTEMPTS

    def test_a_new_attempt_has_all_its_polls(self) -> None:
        made = scheduler("a")
        work = start(made, 0)
        made.failed(work)
        assert take(made, 3).polls == 0

    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(st.lists(st.sampled_from([2.0, 8.0, 40.0, 180.0, 1e9]), max_size=5), min_size=1, max_size=6),
        st.integers(1, 12),
        st.floats(0.0, 8.0),
        st.integers(0, 4),
    )
    def test_whatever_the_api_says_every_clip_ends_within_its_bounds(
        self, sessions: list[list[float]], max_attempts: int, request_s: float, errors: int
    ) -> None:
        """Each attempt takes at most `max_attempts` requests, their distances grow, and all comes to an end."""
        policy = PollingPolicy(3, max_attempts)
        made, now, listed, ended = Scheduler(policy), 0.0, set(), set()
        requests: Counter[tuple[str, str, int]] = Counter()
        for number in range(len(sessions)):
            made.add_session(str(number))
        while (action := made.next_action(now)) is not None:
            if isinstance(action, WaitUntil):
                assert action.at > now
                now = action.at
                continue
            now += request_s
            if isinstance(action, ListSession):
                listed.add(action.session_id)
                for index in range(len(sessions[int(action.session_id)])):
                    made.add_clip(action.session_id, clip(str(index)))
                continue
            work = action.work
            takes_s = sessions[int(work.session_id)][int(work.clip.clip_uuid)]
            requests[work.key] += 1
            if work.polls:
                assert now - work.asked_at >= policy.delay_s(work.polls) - 1e-6
            if not work.polls or now - work.started_at < takes_s:
                going_on = made.still_generating(work, now)
            elif work.generation <= errors:
                going_on = made.failed(work)
            else:
                going_on = False
                made.generated(work, now)
            if not going_on:
                ended.add(work.key[:2])
        assert len(listed) == len(sessions)
        assert len(ended) == sum(map(len, sessions))
        assert max(requests.values(), default=0) <= max_attempts
        assert max((key[2] for key in requests), default=0) <= GENERATION_ATTEMPTS
        assert made.requests_ahead() == 0


class TestAhead:
    def test_known_work_is_counted_and_unlisted_sessions_are_guessed(self) -> None:
        made = scheduler("a", "b", sessions=2)
        assert made.lists_ahead() == 2
        assert made.requests_ahead() == 2 * 2 + 2 * (2 * 3)
        start(made, 0)
        assert made.requests_ahead() == 2 + 1 + 2 * (2 * 3)

    def test_the_guess_follows_what_sessions_turned_out_to_hold(self) -> None:
        made = scheduler(sessions=10)
        for _ in range(9):
            made.next_action(0)
        assert made.requests_ahead() <= 1, "nine sessions without a clip"


class TestLearning:
    def test_before_anything_is_seen_the_prior_holds(self) -> None:
        assert GenerationTimes(30, 2).ready_by(0.03) == 30

    def test_a_clip_ready_sooner_teaches_the_shorter_time(self) -> None:
        times = GenerationTimes(30, 2)
        times.ready("a", 9)
        assert times.ready_by(0.03) == 9

    def test_a_clip_not_ready_yet_moves_the_time_beyond_its_age(self) -> None:
        times = GenerationTimes(30, 2)
        times.not_ready("a", 60)
        assert times.ready_by(0.03) == 120

    def test_the_time_is_the_least_at_which_few_were_not_ready(self) -> None:
        times = GenerationTimes(30, 2)
        for number in range(60):
            times.ready(number, 10 + number)  # 10 to 69
        times.not_ready("slow", 500)
        assert times.ready_by(0.03) == pytest.approx(41, abs=2), "one of the 32 that tell"
        assert times.ready_by(0.15) == pytest.approx(15, abs=1), "one of seven"

    def test_old_clips_are_forgotten(self) -> None:
        times = GenerationTimes(30, 2)
        for number in range(200):
            times.not_ready(number, 100)
        for number in range(200):
            times.ready(1000 + number, 50)
        assert times.ready_by(0.03) <= 50
