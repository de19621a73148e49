"""Sessions and clips: the same seed makes the same world, which changes as time passes and when told to."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from ut_clips_dagster.simulator import DEMO_TEST_ID, Clip, Session, Simulator, SimulatorConfig, World


class StoppedTime:
    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


def world(**settings: Any) -> World:
    return Simulator.create(SimulatorConfig(**settings), StoppedTime()).world


def contents(made: World) -> list[tuple[Session, Sequence[Clip]]]:
    return [(session, made.clips(session.session_id)) for session in made.sessions()]


def test_the_same_seed_makes_the_same_world_and_another_does_not() -> None:
    assert contents(world(seed=4)) == contents(world(seed=4))
    assert contents(world(seed=4)) != contents(world(seed=5))


@pytest.mark.parametrize(("sessions", "clips"), [(20, 46), (10, 23), (1, 0), (1, 9), (7, 7), (0, 0)])
def test_clips_total_is_exact(sessions: int, clips: int) -> None:
    made = world(sessions=sessions, clips_total=clips)
    assert len(made.sessions()) == sessions
    assert sum(len(found) for _, found in contents(made)) == clips


def test_clips_without_a_session_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one session"):
        world(sessions=0, clips_total=1)


def test_sessions_have_nothing_to_five_clips_within_their_time() -> None:
    made = contents(world(sessions=60))
    assert {len(clips) for _, clips in made} == {0, 1, 2, 3, 4, 5}
    for session, clips in made:
        length_ms = (session.finished_at - session.started_at) / timedelta(milliseconds=1)
        assert all(0 <= clip.time_start_ms < clip.time_end_ms <= length_ms for clip in clips)


def test_sessions_are_dealt_to_all_tests() -> None:
    other = "00000000-0000-4000-8000-000000000001"
    made = world(sessions=6, test_ids=(DEMO_TEST_ID, other))
    assert len(made.sessions(DEMO_TEST_ID)) == len(made.sessions(other)) == 3


def test_sessions_appear_on_schedule_in_simulated_time() -> None:
    time = StoppedTime()
    made = Simulator.create(SimulatorConfig(sessions=2, appear_every_s=30, time_scale=10), time).world
    assert len(made.sessions()) == 2
    time.seconds += 2.9
    assert len(made.sessions()) == 2
    time.seconds += 6.2
    sessions = made.sessions()
    assert len(sessions) == 5
    finished = [session.finished_at.timestamp() - 1_800_000_000 for session in sessions[:3]]
    assert finished == pytest.approx([9, 6, 3])


def test_added_sessions_are_the_newest() -> None:
    made = world()
    added = made.add_session(clips=2)
    assert made.sessions()[0] == added
    assert len(made.clips(added.session_id)) == 2


def test_deleted_sessions_are_gone_with_their_clips() -> None:
    made = world()
    session = made.add_session(clips=2)
    made.delete_session(session.session_id)
    assert session not in made.sessions()
    with pytest.raises(KeyError):
        made.clips(session.session_id)


def test_ids_in_use_and_impossible_ranges_are_refused() -> None:
    made = world()
    session = made.add_session()
    with pytest.raises(ValueError, match="already"):
        made.add_session(session_id=session.session_id)
    with pytest.raises(ValueError, match="range"):
        made.add_clip(session.session_id, time_range_ms=(5, 5))


def test_generation_times_are_about_eight_seconds() -> None:
    simulator = Simulator.create(SimulatorConfig(sessions=100, clips_total=300), StoppedTime())
    took = sorted(
        simulator.generations._takes_s(clip, 1)
        for session in simulator.world.sessions()
        for clip in simulator.world.clips(session.session_id)
    )
    assert 7 < took[150] < 9
    assert took[-1] > 12
