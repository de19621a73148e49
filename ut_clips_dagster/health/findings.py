"""Judges facts: what is not well, since when, and what to do. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ut_clips_dagster.archive.discovery import LOST, DiscoveryDocument
from ut_clips_dagster.archive.wording import counted, duration
from ut_clips_dagster.clock import is_future
from ut_clips_dagster.health.facts import Facts, InstanceFacts, SensorFacts

LEAST_FAILED_TICKS = 2
"""One failed tick may pass: a restart of the code server is one."""
MISSED_TICKS = 3
MOST_NAMED = 3
BACKLOG_PATIENCE = 24
"""While runs are queued, discovery may be given up to so many times longer: nothing is gained by finding more."""


@dataclass(frozen=True)
class Limits:
    """From when on something is not well."""

    discovery: timedelta = timedelta(hours=1)
    heartbeat: timedelta = timedelta(minutes=10)
    tick: timedelta = timedelta(minutes=15)
    queued: timedelta = timedelta(hours=12)
    unarchived: timedelta = timedelta(days=3)
    free_bytes: int = 2 * 1024**3
    given_up: int = 0


@dataclass(frozen=True)
class Finding:
    """One thing that is not well."""

    key: str
    """What it is, the same at each look: so that it is told once."""
    what: str
    since: datetime | None
    to_do: str


def judge(facts: Facts, limits: Limits) -> list[Finding]:
    """Everything that is not well, the causes before what follows from them."""
    daemon = list(_daemon(facts, limits))
    location = [] if daemon else list(_location(facts, limits))
    discovery = list(_discovery(facts, limits, stopped=bool(daemon or location)))
    found = [*_archive(facts), *_space(facts, limits), *_instance(facts), *_clock(facts)]
    found += [*daemon, *location, *discovery]
    lost = any(finding.key.startswith("discovery:") for finding in discovery)  # not what is malformed in a list
    if facts.instance and not daemon:
        for sensor in facts.instance.sensors:
            told = (lost and sensor.discovers) or (facts.undelivered and sensor.alerts)
            if not (told and sensor.on):  # the tests, or the receivers, say it better
                found += _sensor(sensor, facts.now, limits)
    if facts.instance:
        found += _sessions(facts.instance, facts.now, limits)
    return [*found, *_alerts(facts)]


def _archive(facts: Facts) -> Iterator[Finding]:
    if facts.archive_problem:
        to_do = "Set right what the message names; `ut-clips check-settings` tries it."
        yield Finding("archive", facts.archive_problem, None, to_do)


def _space(facts: Facts, limits: Limits) -> Iterator[Finding]:
    for space in facts.spaces:
        if space.free_bytes < limits.free_bytes:
            what = f"Only {_mb(space.free_bytes)} are free where {space.what} is ({space.path})."
            to_do = f"Make room: at least {_mb(limits.free_bytes)}. Nothing stored is lost; what fails is tried again."
            yield Finding(f"space:{space.what}", what, None, to_do)


def _instance(facts: Facts) -> Iterator[Finding]:
    if facts.instance_problem:
        yield Finding("instance", facts.instance_problem, None, "Check DAGSTER_HOME and its database.")


def _clock(facts: Facts) -> Iterator[Finding]:
    """A time that lies ahead is never old: what it belongs to would look well for as long."""
    ahead = [f"{what} ({at:%Y-%m-%d %H:%M})" for what, at in _times(facts) if is_future(at, facts.now)]
    if ahead:
        more = f" and {len(ahead) - MOST_NAMED} more" if len(ahead) > MOST_NAMED else ""
        what = f"Times lie ahead of this machine's clock ({facts.now:%Y-%m-%d %H:%M} UTC): "
        to_do = (
            "Set right the clock that is wrong: this machine's, or that of another one that writes here. What was done "
            "in the future is then done again by itself; only sensors whose last tick lies there are left still by "
            "Dagster: stop the daemon, `dagster schedule wipe`, start it."
        )
        yield Finding("clock", f"{what}{'; '.join(ahead[:MOST_NAMED])}{more}.", None, to_do)


def _times(facts: Facts) -> Iterator[tuple[str, datetime]]:
    for test_id, document in facts.discoveries.items():
        if document:
            known = (document.first_asked_at, document.asked_at, document.succeeded_at, document.failing_since)
            yield f"reading of test {test_id}", max(at for at in known if at)
    if facts.instance:
        yield from ((f"sign of life of {name}", at) for name, at in facts.instance.heartbeats.items() if at)
        yield from ((f"tick of {s.name}", s.last_tick_at) for s in facts.instance.sensors if s.last_tick_at)
        waiting = (*facts.instance.given_up, facts.instance.oldest_queued_run, facts.instance.oldest_unfinished)
        yield from ((f"waiting of {w.name}", w.since) for w in waiting if w)


def _daemon(facts: Facts, limits: Limits) -> Iterator[Finding]:
    beats = facts.instance.heartbeats if facts.instance else {}
    seen = [at for at in beats.values() if at]
    late = sorted(name for name, at in beats.items() if at is None or facts.now - at > limits.heartbeat)
    if not late or not seen:  # no daemon ever ran here: `ut-clips archive` from cron needs none
        return
    if len(late) == len(beats):
        what, since = "The Dagster daemon does not run: nothing is found, and no run is started.", max(seen)
    else:
        what = f"Parts of the Dagster daemon gave no sign of life: {', '.join(late)}."
        since = min((at for name in late if (at := beats[name])), default=None) or max(seen)
    yield Finding("daemon", what, since, "Restart it (systemctl restart ut-clips-daemon), and read its log.")


def _location(facts: Facts, limits: Limits) -> Iterator[Finding]:
    """None of our sensors ever ticked. Where session lists are read all the same, say by cron, none may be meant to."""
    instance, read = facts.instance, [document for document in facts.discoveries.values() if document]
    if instance is None or not instance.sensors or instance.begun_at is None or _has_just_begun(facts, limits):
        return
    unknown = all(sensor.on and sensor.last_tick_at is None for sensor in instance.sensors)
    if unknown and all(_age(document, facts.now) > limits.discovery for document in read):
        what = "The code location does not load: none of its sensors ever ticked, though the Dagster daemon runs."
        to_do = (
            "See in the UI (Deployment) why it does not load, and the code server's log (journalctl -u "
            "ut-clips-code-server); restart it. If it loads: switch its sensors on (Automation)."
        )
        yield Finding("location", what, instance.begun_at, to_do)


def _discovery(facts: Facts, limits: Limits, *, stopped: bool) -> Iterator[Finding]:
    """One finding for each cause, however many tests it befell; of lost access, for each test."""
    by_key: dict[str, list[DiscoveryDocument]] = {}
    silent: list[str] = []
    since: list[datetime] = []
    asked = [document for document in facts.discoveries.values() if document]
    just_begun = _has_just_begun(facts, limits)
    for test_id, document in facts.discoveries.items():
        if document is None:
            first = min((other.first_asked_at for other in asked), default=None)
            if not just_begun if first is None else facts.now - first > _patience(facts, limits):
                silent.append(test_id)
        elif document.is_lost(facts.now) and (document.kind in LOST or _age(document, facts.now) > limits.discovery):
            key = f"{document.kind}:{test_id}" if document.kind == "access" else str(document.kind)
            by_key.setdefault(key, []).append(document)
        elif _age(document, facts.now) > _patience(facts, limits):
            silent.append(test_id)
            since.append(document.succeeded_at or document.first_asked_at)
        if document and document.malformed:
            entries = counted(document.malformed, "entry", "entries")
            what = f"{entries} of test {test_id}'s session list could not be understood."
            yield Finding(
                f"malformed:{test_id}", what, None, "See the ticks of new_sessions; tell UserTesting's support."
            )
    for key, documents in by_key.items():
        tests = ", ".join(document.test_id for document in documents)
        begun = min(document.failing_since or document.asked_at for document in documents)
        what = f"No session is found any more ({counted(len(documents), 'test')}: {tests}). {documents[0].problem}"
        yield Finding(f"discovery:{key}", what, begun, _remedy(key.split(":")[0]))
    if silent and not stopped:
        what = f"No session list was read of {counted(len(silent), 'test')}: {', '.join(silent)}."
        to_do = "Start the Dagster daemon and its sensor new_sessions, or run `ut-clips archive`."
        yield Finding("discovery:silent", what, min(since, default=None), to_do)
    elif facts.archive_is_empty and not facts.discoveries and not stopped and not just_begun:
        what = f"Nothing was ever read here: the archive {facts.archive} holds neither a table nor a document."
        to_do = (
            "Does UT_CLIPS_ARCHIVE name the archive that is meant? Then start the daemon, or run `ut-clips archive`."
        )
        yield Finding("discovery:silent", what, None, to_do)


def _has_just_begun(facts: Facts, limits: Limits) -> bool:
    """Whether a daemon lives that may not have come to read its first session list."""
    begun_at = facts.instance.begun_at if facts.instance else None
    return begun_at is not None and facts.now - begun_at <= limits.discovery


def _patience(facts: Facts, limits: Limits) -> timedelta:
    """How old a session list may be that nobody failed to read: each test waits for its turn, and all for a backlog."""
    sensors = facts.instance.sensors if facts.instance else ()
    interval_s = next((sensor.interval_s for sensor in sensors if sensor.discovers), 0.0)
    round_ = timedelta(seconds=interval_s * len(facts.discoveries))
    backlog = facts.instance is not None and facts.instance.runs_in_flight > 0
    return max(limits.discovery * (BACKLOG_PATIENCE if backlog else 1), MISSED_TICKS * round_)


def _age(document: DiscoveryDocument, now: datetime) -> timedelta:
    return now - (document.succeeded_at or document.first_asked_at)


def _remedy(kind: str) -> str:
    return {
        "credentials": "Set the credentials right and restart; `ut-clips check-settings` tries them.",
        "access": "Ask for access to the test, or take its ID out of USERTESTING_TEST_IDS; then restart.",
        "budget": "See which other program uses these credentials: it takes every request.",
        "outage": "Check the network and UserTesting's status; all sessions are found once it answers.",
    }[kind]


def _sensor(sensor: SensorFacts, now: datetime, limits: Limits) -> Iterator[Finding]:
    if not sensor.on and sensor.may_be_off:
        return
    if not sensor.on:
        what = f"The sensor {sensor.name} is switched off."
        yield Finding(f"sensor:{sensor.name}:off", what, sensor.last_tick_at, "Switch it on in the UI (Automation).")
    elif sensor.failures >= LEAST_FAILED_TICKS:
        what = f"The sensor {sensor.name} fails: {sensor.error}"
        to_do = "Set right what the message names; the sensor goes on by itself."
        yield Finding(f"sensor:{sensor.name}", what, sensor.failing_since, to_do)
    elif now - (sensor.last_tick_at or now) > max(limits.tick, MISSED_TICKS * timedelta(seconds=sensor.interval_s)):
        what = f"The sensor {sensor.name} does not tick, though the daemon runs."
        to_do = "See in the UI (Deployment) whether the code location loads; read the daemon's log."
        yield Finding(f"sensor:{sensor.name}:silent", what, sensor.last_tick_at, to_do)


def _sessions(instance: InstanceFacts, now: datetime, limits: Limits) -> Iterator[Finding]:
    if len(instance.given_up) > limits.given_up:
        first = instance.given_up[0]
        what = f"{len(instance.given_up)} sessions are given up after all retries, such as {first.name}."
        to_do = "See why by `ut-clips status`; then `ut-clips archive --session ID`, or materialize their partitions."
        yield Finding("given_up", what, first.since, to_do)
    if (run := instance.oldest_queued_run) and now - run.since > limits.queued:
        what = f"Run {run.name} waits in the queue for {_rough(now - run.since)}."
        to_do = "See in the UI (Runs) what is in progress: a run that does not end holds its place for up to 6 h."
        yield Finding("queued", what, run.since, to_do)
    if (session := instance.oldest_unfinished) and now - session.since > limits.unarchived:
        what = f"Session {session.name} was found {_rough(now - session.since)} ago and is not archived."
        to_do = "See why by `ut-clips status`; `ut-clips plan` tells how long a backlog takes."
        yield Finding("unarchived", what, session.since, to_do)


def _alerts(facts: Facts) -> Iterator[Finding]:
    for target in facts.undelivered:
        what = f"Alerts cannot be delivered to {target.name}."
        to_do = "Check UT_CLIPS_ALERT_URLS and the network; what is told is tried again at each look."
        yield Finding(f"alerts:{target.name}", what, target.since, to_do)


def _rough(span: timedelta) -> str:
    return duration(span.total_seconds())


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:,.0f} MiB"
