"""A clip's transcript as WebVTT, for the player's own captions."""

from __future__ import annotations

from collections.abc import Iterable

from ut_clips_dagster.gallery.queries import Cue

_ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def captions(cues: Iterable[Cue]) -> str:
    """A file with these cues; what is said is text, whatever it looks like."""
    lines = ["WEBVTT\n"]
    for cue in cues:
        voice = f"<v {cue.voice.translate(_ESCAPED)}>" if cue.voice else ""
        end_ms = max(cue.end_ms, cue.start_ms + 1)
        lines.append(f"{_time(cue.start_ms)} --> {_time(end_ms)}\n{voice}{cue.text.translate(_ESCAPED)}\n")
    return "\n".join(lines)


def _time(ms: int) -> str:
    seconds, rest = divmod(max(ms, 0), 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{rest:03d}"
