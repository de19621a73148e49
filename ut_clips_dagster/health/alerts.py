"""Who is told what: one message when something is no longer well, one when it is again, none in between. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ut_clips_dagster.archive.documents import Document
from ut_clips_dagster.archive.wording import counted
from ut_clips_dagster.clock import is_future, not_ahead
from ut_clips_dagster.health.findings import Finding
from ut_clips_dagster.results_api.models import UtcDatetime

SETTLED_AFTER = timedelta(minutes=2)
"""What passes by itself within that time is not told."""
WELL_AFTER = timedelta(minutes=10)
"""What comes and goes is not told each time: it is well again when it stays away for so long."""
CLAIM = timedelta(minutes=2)
"""How long another process leaves a message to the one that has begun to deliver it."""


class Known(Document):
    """A finding as one receiver knows it."""

    what: str
    first_seen: UtcDatetime
    told: bool = False
    gone_since: UtcDatetime | None = None


class Target(Document):
    """What one receiver was told."""

    findings: dict[str, Known] = {}  # noqa: RUF012 - a pydantic field
    failing_since: UtcDatetime | None = None
    """Since when no message could be delivered."""
    claimed_until: UtcDatetime | None = None

    def is_claimed(self, now: datetime) -> bool:
        """Whether another process has begun to deliver a message, a short while ago."""
        return self.claimed_until is not None and now < self.claimed_until and not is_future(self.claimed_until, now)


class AlertState(Document):
    """`health/alerts.json`: what was told, by a hash of each alert URL; the URLs hold tokens."""

    version: int = 1
    looked_at: UtcDatetime | None = None
    targets: dict[str, Target] = {}  # noqa: RUF012 - a pydantic field


@dataclass(frozen=True)
class Message:
    """What is to be delivered, and which findings it is about."""

    title: str
    body: str
    keys: frozenset[str]
    well_again: bool


def look(target: Target, findings: Sequence[Finding], now: datetime) -> Target:
    """What the receiver's findings are now. Those that were never told and are gone are forgotten."""
    present = {finding.key: finding for finding in findings}
    after: dict[str, Known] = {}
    for key, finding in present.items():
        first_seen = finding.since if finding.since and finding.since < now else now
        known = target.findings.get(key) or Known(what=finding.what, first_seen=first_seen)
        first_seen = not_ahead(known.first_seen, now)
        after[key] = known.model_copy(update={"what": finding.what, "first_seen": first_seen, "gone_since": None})
    for key, known in target.findings.items():
        if key not in present and known.told:
            after[key] = known.model_copy(update={"gone_since": not_ahead(known.gone_since or now, now)})
    return target.model_copy(update={"findings": after})


def message(target: Target, findings: Sequence[Finding], archive: str, now: datetime) -> Message | None:
    """What is to be told now; None when that is nothing."""
    known = target.findings
    new = [f for f in findings if not known[f.key].told and now - known[f.key].first_seen >= SETTLED_AFTER]
    gone = [key for key, k in known.items() if k.gone_since is not None and now - k.gone_since >= WELL_AFTER]
    if not new and not gone:
        return None
    parts = [f"{finding.what}\n{_since(finding.since)}To do: {finding.to_do}" for finding in new]
    parts += [f"Well again: {known[key].what}" for key in gone]
    left = len([k for key, k in known.items() if key not in gone and k.gone_since is None]) - len(new)
    if not new:
        others = counted(left, "other finding remains", "other findings remain")
        parts.append(f"{others}: `ut-clips health`." if left else "All is well.")
    title = f"ut-clips: {'not well' if new else 'well again'} ({archive})"
    return Message(title, "\n\n".join(parts), frozenset([*(f.key for f in new), *gone]), well_again=not new)


def delivered(target: Target, keys: frozenset[str]) -> Target:
    """After a delivery: what was told is, and what is well again is forgotten."""
    left = {key: k for key, k in target.findings.items() if key not in keys or k.gone_since is None}
    told = {key: k.model_copy(update={"told": True}) if key in keys else k for key, k in left.items()}
    return target.model_copy(update={"findings": told, "failing_since": None, "claimed_until": None})


def undelivered(target: Target, now: datetime) -> Target:
    """After a delivery that failed: it is tried again at the next look."""
    return target.model_copy(update={"failing_since": target.failing_since or now, "claimed_until": None})


def _since(since: datetime | None) -> str:
    return f"Since {since:%Y-%m-%d %H:%M} UTC. " if since else ""
