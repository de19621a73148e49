"""The soak: a platform as it is shipped, its schedule many times as fast, injured in every way that is known of.

    python -m benchmarks.soak [--minutes 15] [--scale 40] [--seed 0] [--archive DIR]

A simulated API, a code server and a daemon; participants and researchers at work; one injury after the other, and
something killed ten times. Then all injuries are lifted, it settles, and everything is compared: every file byte
for byte, the documents, Dagster's statuses, `verify --read-data`, `health`, `status` and the last alert. Exit code 1
when something is wrong. `--archive` on a small file system of its own (`mount -t tmpfs -o size=128m`) lets its disk
run full, too.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from dagster import DagsterRunStatus, RunsFilter

from benchmarks.soak.injuries import LONG, SHORT, Stage, has_small_disk, injured
from benchmarks.soak.judge import Judge
from benchmarks.soak.people import People
from benchmarks.soak.platform import Platform, alert_receiver
from ut_clips_dagster.simulator import DEMO_TEST_ID, SimulatorConfig, SimulatorServer

SECOND_TEST_ID = "9e107d9d-3721-4b3f-8a2e-5d0a3b6c1f42"
SESSION_EVERY_S = 12.0
EDIT_EVERY_S = 10.0
KILLS = 10
BEGIN_WITHIN_S = 900.0
"""The processes start, and a first session is archived, before anything is injured."""
SETTLE_S = 300.0
"""In addition to what the last retry of an injured session and its relisting wait for."""
LAST_WAIT_S = 6 * 3600.0
LOOK_EVERY_S = 5.0
WELL = "All is well."


@dataclass
class Course:
    """What happened, for the report."""

    told: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def say(self, what: str) -> None:
        """A line now, with its moment."""
        line = f"{time.monotonic() - self.began:7.1f} s  {what}"
        self.told.append(line)
        print(line, flush=True)


def main() -> int:
    """Run it, print the report; 0 when everything is as it should be."""
    parser = argparse.ArgumentParser(description="Half a day of operation with everything going wrong.")
    parser.add_argument("--minutes", type=float, default=15.0, help="real minutes before the injuries are lifted")
    parser.add_argument("--scale", type=float, default=40.0, help="how many times as fast the schedule runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--archive", type=Path, help="an empty directory; on a small disk it is let run full")
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(130))  # so that what was started is ended, too
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    archive = arguments.archive or folder / "archive"
    archive.mkdir(exist_ok=True)
    course = Course()
    course.say(f"in {folder}: {arguments.minutes * arguments.scale / 60:.1f} h of schedule, seed {arguments.seed}")
    config = SimulatorConfig(
        sessions=0, test_ids=(DEMO_TEST_ID, SECOND_TEST_ID), time_scale=arguments.scale, seed=arguments.seed
    )
    with SimulatorServer(config) as simulator, alert_receiver() as (alerts, told):
        people = People(simulator, arguments.scale, random.Random(arguments.seed))
        platform = Platform(simulator, folder, archive, arguments.scale, alerts)
        stage = Stage(simulator, platform, people)
        judge = Judge(simulator, platform, people)
        try:
            _begin(stage, judge, course)
            _operate(stage, course, arguments.minutes * 60, random.Random(arguments.seed + 1))
            _settle(stage, judge, course, LAST_WAIT_S / arguments.scale + SETTLE_S)
            _wait_for_the_last_word(stage, told)
            verdicts = {
                **judge.verdicts(),
                "the last alert says that all is well": [line for line in told[-1:] if not line.endswith(WELL)],
            }
        finally:
            platform.stop()
        _report(stage, course, told, verdicts, arguments.scale)
    return int(any(verdicts.values()))


def _begin(stage: Stage, judge: Judge, course: Course) -> None:
    stage.people.session(clips=1)
    stage.platform.keep_running()
    end = time.monotonic() + BEGIN_WITHIN_S
    while judge.unsettled():
        if time.monotonic() > end:
            raise SystemExit(f"No session was archived within {BEGIN_WITHIN_S:.0f} s; see the logs.")
        time.sleep(LOOK_EVERY_S)
    course.say("the first session is archived; from now on things go wrong")


def _operate(stage: Stage, course: Course, for_s: float, dice: random.Random) -> None:
    """People work, things break and die, and everything that died starts again."""
    long, short = list(LONG.items()), list(SHORT.items())
    if not has_small_disk(stage.platform.archive):
        long = [(name, injury) for name, injury in long if name != "full disk"]
        course.say("the archive's disk is large: it is not let run full")
    dice.shuffle(long)
    dice.shuffle(short)
    begun, end = time.monotonic(), time.monotonic() + for_s
    injuries = sorted((*_spread(long, begun, end), *_spread(short, begun, end)), key=lambda each: each[0])
    due = {stage.people.session: (0.0, SESSION_EVERY_S), stage.people.edit: (begun, EDIT_EVERY_S)}
    kill_every_s = (end - begun) / KILLS
    kill_at = begun + kill_every_s
    with ExitStack() as open_ones:
        lifted: list[tuple[float, str, ExitStack]] = []
        while (now := time.monotonic()) < end:
            stage.platform.keep_running()
            for act, (at, every) in list(due.items()):
                if now >= at:
                    act()
                    due[act] = (now + dice.uniform(0.5, 1.5) * every, every)
            while injuries and injuries[0][0] <= now:
                _, until, name, injury = injuries.pop(0)
                course.say(f"+ {name}")
                one = open_ones.enter_context(ExitStack())
                one.enter_context(injured(injury, stage))
                lifted.append((until, name, one))
            for each in [each for each in lifted if each[0] <= now]:
                each[2].close()
                lifted.remove(each)
                course.say(f"- {each[1]}")
            if now >= kill_at:
                course.say(f"kill -9: {stage.platform.kill(dice)}")
                kill_at = now + dice.uniform(0.5, 1.5) * kill_every_s
            time.sleep(0.2)
    stage.simulator.faults.clear()
    stage.platform.keep_running()
    course.say("every injury is lifted")


def _spread(injuries: list, begun: float, end: float) -> list:  # type: ignore[type-arg]
    """(begins, ends, name, injury), one after the other over the whole time."""
    each = (end - begun) / max(1, len(injuries))
    return [
        (begun + number * each, begun + (number + 0.8) * each, name, injury)
        for number, (name, injury) in enumerate(injuries)
    ]


def _settle(stage: Stage, judge: Judge, course: Course, within_s: float) -> None:
    """Wait until nothing is left to do; what waits for its last retry by then, an operator asks for.

    Within so many seconds something has to be done; then the rest is waited for as long again.
    """
    if _wait_for_the_rest(stage, judge, course, within_s):
        return
    code, _ = stage.platform.command("archive")
    course.say(f"an operator helps: ut-clips archive ends with {code}")
    if not _wait_for_the_rest(stage, judge, course, SETTLE_S):
        course.say("it does not settle")


def _wait_for_the_rest(stage: Stage, judge: Judge, course: Course, within_s: float) -> bool:
    end, last, fewest = time.monotonic() + within_s, -1, sys.maxsize
    while time.monotonic() < end:
        stage.platform.keep_running()
        left = judge.unsettled()
        if not left:
            course.say("settled")
            return True
        if len(left) < fewest:  # a busy machine may take its time, as long as it goes on
            end, fewest = time.monotonic() + within_s, len(left)
        if len(left) != last:
            course.say(f"{len(left)} things are not done, such as {left[0][:160]}")
            last = len(left)
        time.sleep(LOOK_EVERY_S)
    return False


def _wait_for_the_last_word(stage: Stage, told: list[str]) -> None:
    end = time.monotonic() + SETTLE_S
    while told and not told[-1].endswith(WELL) and time.monotonic() < end:
        stage.platform.keep_running()
        time.sleep(LOOK_EVERY_S)


def _report(stage: Stage, course: Course, told: list[str], verdicts: dict[str, list[str]], scale: float) -> None:
    days = (time.monotonic() - course.began) * scale / 86_400
    home = sum(path.stat().st_size for path in stage.platform.home.rglob("*") if path.is_file())
    world = stage.simulator.world
    sessions = world.sessions()
    with stage.platform.instance() as instance:
        runs = {status.value: instance.get_runs_count(RunsFilter(statuses=[status])) for status in DagsterRunStatus}
    kills = ", ".join(f"{number} times {what}" for what, number in sorted(stage.platform.kills.items()))
    print(f"\nschedule: {days * 24:.1f} h; {len(sessions)} sessions, {stage.people.edits} edits; killed: {kills}")
    print(f"clips: {sum(len(world.clips(s.session_id)) for s in sessions)}, cuts {len(stage.people.files)}")
    print("runs kept:", ", ".join(f"{number} {status}" for status, number in runs.items() if number))
    print(f"requests: {stage.simulator.requests.api_count()} of the API")
    a_day, a_session = home / days / 1e6, home / len(sessions) / 1e6
    print(f"DAGSTER_HOME: {home / 1e6:.1f} MB, {a_day:.1f} MB a day of the schedule, {a_session:.2f} a session")
    print(f"alerts: {len(told)}", *(line[:300] for line in told), sep="\n  ")
    print()
    for what, wrong in verdicts.items():
        print(f"{'WRONG' if wrong else 'yes'}: {what}", *wrong, sep="\n  ")


if __name__ == "__main__":
    sys.exit(main())
