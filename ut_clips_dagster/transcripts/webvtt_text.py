"""Reads a session's WebVTT. Pure.

webvtt-py skips what it cannot read without a word, as the WebVTT standard demands of a browser; here a transcript that
loses cues so says it.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from webvtt import WebVTT
from webvtt.errors import MalformedCaptionError, MalformedFileError
from webvtt.models import Caption, Region, Style

_VOICE = re.compile(r"v(?:\.[^\s.]+)*\s+(.+)", re.DOTALL)
ARROW = "-->"


@dataclass(frozen=True)
class Cue:
    """A cue as it stands in the file; times in milliseconds of the file's clock."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]
    identifier: str = ""
    settings: str = ""

    @property
    def voice(self) -> str | None:
        """Who speaks, where the cue says so: the first that it names."""
        voices = (_VOICE.fullmatch(tag) for tag, is_tag in _tokens("\n".join(self.lines)) if is_tag)
        return next((name for voice in voices if voice and (name := _collapsed(voice.group(1)))), None)

    @property
    def text(self) -> str:
        """What is said: without tags, unescaped, spaces collapsed."""
        return _collapsed("".join(text for text, is_tag in _tokens("\n".join(self.lines)) if not is_tag))


@dataclass(frozen=True)
class Transcript:
    """A session's transcript: its cues in their order, and what styles them."""

    cues: tuple[Cue, ...]
    styles: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    problem: str | None = None
    """What is wrong with it, in words; its cues, as far as they could be read, are right all the same."""

    @property
    def is_readable(self) -> bool:
        """Whether it says anything about the session: that nothing is said counts, what cannot be read does not."""
        return bool(self.cues) or self.problem is None


def read_transcript(content: bytes) -> Transcript:
    """The transcript that the bytes hold; never raises, whatever they are."""
    text = content.decode("utf-8-sig", "replace").replace("\0", "\ufffd")  # as the standard has it
    try:
        parsed = WebVTT.from_string(text)
    except (MalformedFileError, MalformedCaptionError, ValueError) as error:
        return Transcript((), problem=f"It is no WebVTT that can be read ({type(error).__name__}).")
    cues = tuple(_cue(caption) for caption in parsed.captions)
    return Transcript(
        tuple(cue for cue in cues if cue.end_ms > cue.start_ms),
        tuple(style.text for style in parsed.styles),
        tuple(str(region) for region in parsed.regions),
        _problem(text, len(cues)),
    )


def write_webvtt(transcript: Transcript) -> bytes:
    """The transcript as a WebVTT file."""
    captions = [
        Caption(_clock(cue.start_ms), _clock(cue.end_ms), cue.lines, cue.identifier or None, cue.settings)
        for cue in transcript.cues
    ]
    styles = [Style(text) for text in transcript.styles]
    regions = [Region.from_string(text) for text in transcript.regions]
    content: str = WebVTT(captions=captions, styles=styles, regions=regions).content
    return content.rstrip("\n").encode() + b"\n"


def _cue(caption: Caption) -> Cue:
    return Cue(
        caption.start_time.in_milliseconds(),
        caption.end_time.in_milliseconds(),
        tuple(caption.lines),
        caption.identifier or "",
        str(caption.settings),
    )


def _problem(text: str, cues: int) -> str | None:
    timed = sum(ARROW in line for line in re.split(r"[\r\n]", text))
    if timed <= cues:
        return None
    if not cues:
        return (
            f"It holds {timed:,} lines with {ARROW} and not one cue that can be read: "
            "WebVTT writes 00:00:01.000, with a point and not with a comma."
        )
    return f"{timed - cues:,} of {timed:,} cues cannot be read, and are left out."


def _tokens(text: str) -> list[tuple[str, bool]]:
    """Text and the content of tags (true), in linear time; a `<` that nothing closes is text."""
    tokens, at = [], 0
    while (start := text.find("<", at)) >= 0 and (end := text.find(">", start)) >= 0:
        tokens += [(text[at:start], False), (text[start + 1 : end], True)]
        at = end + 1
    return [*tokens, (text[at:], False)]


def _collapsed(text: str) -> str:
    try:
        text = html.unescape(text)
    except ValueError:
        """A character number of more digits than Python reads: it stays as it is written."""
    return " ".join(text.split())


def _clock(milliseconds: int) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}.{milliseconds:03d}"
