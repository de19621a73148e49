"""What is asked of an export, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MB = 1_000_000


@dataclass(frozen=True)
class Order:
    """An export as it is asked for."""

    target: Path
    where: str = ""
    link: bool = False
    """Hard links instead of copies; of an archive in a directory, for formats that keep clips as files."""
    shard_bytes: int = 500 * MB


@dataclass(frozen=True)
class Report:
    """What an export holds now."""

    clips: int
    sessions: int
    size_bytes: int
    copied: int
    """Clips that it did not hold before."""
    removed: int
    """Files of clips that are no longer selected."""
    left_out: Mapping[str, str]
    """Clips that could not be exported, and why."""
