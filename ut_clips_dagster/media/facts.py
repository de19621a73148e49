"""Facts of a media file, and what is wrong with them. Imports nothing: the worker process starts with it."""

from __future__ import annotations

from dataclasses import dataclass

LENGTH_TOLERANCE_S = 2.0
LENGTH_TOLERANCE = 0.05
"""A file's length may be off its clip's range by so much, absolute and in proportion; off by more than both is told."""


@dataclass(frozen=True)
class Facts:
    """What a file says of itself; None is not known."""

    duration_s: float | None = None
    width: int | None = None
    height: int | None = None
    frame_rate: float | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    has_audio_track: bool | None = None
    failure: str | None = None
    """Why not all of it is known, or there is no poster; in words that go on from "the file ..."."""


@dataclass(frozen=True)
class Looked:
    """What looking at a file gave."""

    facts: Facts
    poster: bytes | None = None
    """A JPEG."""


def problem_of(facts: Facts, range_s: float, *, has_audio: bool) -> str | None:
    """What is wrong with a clip's file, in words; None when nothing is.

    Args:
        facts: of the file.
        range_s: length of the clip as the API lists it.
        has_audio: whether the API says that the clip has sound.
    """
    problems = [facts.failure] if facts.failure else []
    if facts.duration_s is not None:
        off_s = abs(facts.duration_s - range_s)
        if off_s > LENGTH_TOLERANCE_S and off_s > LENGTH_TOLERANCE * range_s:
            problems.append(f"is {facts.duration_s:.1f} s long, but the clip's range is {range_s:.1f} s")
    if facts.has_audio_track is False and has_audio:
        problems.append("has no sound, though the clip is listed with sound")
    if facts.has_audio_track and not has_audio:
        problems.append("has sound, though the clip is listed without sound")
    return f"The file {'; it '.join(problems)}." if problems else None
