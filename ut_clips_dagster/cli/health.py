"""`ut-clips health`: whether all is well, for people, cron, systemd and Kubernetes."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import datetime, timedelta

import typer

from ut_clips_dagster.account import Account
from ut_clips_dagster.archive.wording import counted, duration
from ut_clips_dagster.cli.console import say
from ut_clips_dagster.cli.platform import home_path, missing_home, store_of
from ut_clips_dagster.cli.read_only import existing_instance, no_instance
from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.health.delivery import AlertMemory, check_urls, send
from ut_clips_dagster.health.facts import Facts
from ut_clips_dagster.health.findings import Finding, Limits, judge
from ut_clips_dagster.health_facts import gather
from ut_clips_dagster.results_api.models import now_utc
from ut_clips_dagster.sensor_names import sensors_of
from ut_clips_dagster.settings import Settings, load_settings
from ut_clips_dagster.storage.metadata_table import MetadataTable

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = timedelta(days=36500)
"""Far below what a timedelta holds: thresholds are multiplied."""
_BYTES = {"k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def check_health(limits: Limits, *, as_json: bool, alert: bool) -> bool:
    """Gather, judge, print, and tell whoever is to be told; True when all is well.

    Raises:
        ClipsError: it could not even look; the message says why.
    """
    settings, test_ids = _settings()
    urls = [url.get_secret_value() for url in settings.alert_urls]
    if alert and not urls:
        raise SettingsError("UT_CLIPS_ALERT_URLS is not set: there is nobody to alert.")
    if urls:
        check_urls(urls)
    store, table = store_of(settings.archive), MetadataTable.of_archive(settings.archive)
    problem = ""
    with ExitStack() as stack:
        try:
            instance = stack.enter_context(existing_instance())
        except SettingsError as error:  # a database that is down is a finding, and has to be told
            instance, problem = None, str(error)
        exists = instance is not None
        problem = problem or ("" if exists else missing_home())
        home, account = home_path() if exists else None, Account.of(settings)
        facts = gather(store, table, test_ids, instance, home, now_utc(), account, sensors_of(settings))
    memory = AlertMemory(store, archive_problem=facts.archive_problem)
    facts = replace(
        facts, instance_problem=facts.instance_problem or problem, undelivered=memory.failing(urls, facts.now)
    )
    findings = judge(facts, limits)
    undelivered = send(memory, urls, findings, facts.archive, facts.now) if alert else []
    if as_json:
        typer.echo(json.dumps(_as_json(facts, findings, undelivered), indent=1, default=_plain))
    else:
        _print(facts, findings, undelivered, note="" if exists or problem else no_instance())
    return not findings and not undelivered


def limits_of(  # noqa: PLR0913 - one for each option
    *, discovery: str, heartbeat: str, tick: str, queued: str, unarchived: str, free: str, given_up: int
) -> Limits:
    """The thresholds as a person writes them: `90m`, `2h`, `3d`; `500M`, `2G`.

    Raises:
        SettingsError: one cannot be read.
    """
    return Limits(
        discovery=_duration("--discovery-age", discovery),
        heartbeat=_duration("--heartbeat-age", heartbeat),
        tick=_duration("--tick-age", tick),
        queued=_duration("--queued", queued),
        unarchived=_duration("--unarchived", unarchived),
        free_bytes=int(_number("--free", free, _BYTES)),
        given_up=given_up,
    )


def _duration(option: str, text: str) -> timedelta:
    seconds = _number(option, text, _SECONDS)
    if seconds > _LONGEST.total_seconds():
        raise SettingsError(f"{option} {text!r} is too long: give at most {_LONGEST.days}d.")
    return timedelta(seconds=seconds)


def _number(option: str, text: str, units: dict[str, int]) -> float:
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([a-z])", text.strip().lower())
    if not match or match.group(2) not in units:
        raise SettingsError(
            f"{option} {text!r} is no number with one of the units {', '.join(units)}, such as 2h or 2G."
        )
    return float(match.group(1)) * units[match.group(2)]


def _settings() -> tuple[Settings, tuple[str, ...] | None]:
    """The settings, and the tests: None for who may read the archive and has no credentials."""
    try:
        settings = load_settings()
    except SettingsError:
        return load_settings(api=False), None
    return settings, settings.test_ids


def _print(facts: Facts, findings: Sequence[Finding], undelivered: Sequence[str], note: str) -> None:
    if note:
        say(note)
    for test_id, document in facts.discoveries.items():
        read = "never read"
        if document and document.succeeded_at:
            sessions = counted(document.sessions or 0, "session")
            read = f"last read {_ago(facts.now, document.succeeded_at)} ago, {sessions}"
        say(f"Test {test_id}: {read}")
    for space in facts.spaces:
        say(f"Free for {space.what}: {space.free_bytes / 1024**3:,.1f} GiB")
    for finding in findings:
        since = f" Since {finding.since:%Y-%m-%d %H:%M} UTC." if finding.since else ""
        say(f"NOT WELL: {finding.what}{since}", style="red")
        say(f"  To do: {finding.to_do}")
    for name in undelivered:
        say(f"NOT TOLD: {name} cannot be reached; it is tried again at the next look.")
    if not findings:
        say(f"All is well: {facts.archive}")


def _ago(now: datetime, at: datetime) -> str:
    return duration(max(0.0, (now - at).total_seconds()))  # it may be read while we look


def _as_json(facts: Facts, findings: Sequence[Finding], undelivered: Sequence[str]) -> dict[str, object]:
    """Everything that was found and judged."""
    known = asdict(replace(facts, discoveries={}))
    ages = {
        test_id: (facts.now - document.succeeded_at).total_seconds() if document and document.succeeded_at else None
        for test_id, document in facts.discoveries.items()
    }
    return {
        "healthy": not findings and not undelivered,
        "findings": [asdict(finding) for finding in findings],
        "discovery_age_s": ages,
        **known,
        "discoveries": {key: d.model_dump(mode="json") if d else None for key, d in facts.discoveries.items()},
        "not_told": list(undelivered),
    }


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
