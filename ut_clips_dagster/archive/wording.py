"""Numbers as a person says them. Imports nothing: commands that start at once use it, too."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 session`, `2 sessions`."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    minutes, hours = seconds / 60, seconds / 3600
    if hours >= 48:  # noqa: PLR2004
        return f"{hours / 24:.1f} days"
    if hours >= 2:  # noqa: PLR2004
        return f"{hours:.1f} h"
    return f"{minutes:.0f} min" if minutes >= 2 else f"{seconds:.0f} s"  # noqa: PLR2004
