"""Clips' files that are not what the API lists."""

import struct
from enum import Enum

from ut_clips_dagster.simulator.world.state import Render
from ut_clips_dagster.simulator.world.video import encode

_HUGE = (8192, 4352)


class Flaw(str, Enum):
    """What is wrong with a file; the faults of the same names say how it appears."""

    NO_VIDEO = "no_video"
    WRONG_LENGTH = "wrong_length"
    WRONG_SOUND = "wrong_sound"
    BROKEN_INDEX = "broken_index"
    UNKNOWN_CODEC = "unknown_codec"
    HUGE_PICTURE = "huge_picture"


def flawed(render: Render, flaw: Flaw) -> bytes:
    """The file of a cut with this flaw."""
    identity, length_s, has_audio = f"{render.clip_uuid}/{render.cut}", render.length_s, render.has_audio
    if flaw is Flaw.NO_VIDEO:
        return encode(identity, length_s, has_video=False)
    if flaw is Flaw.WRONG_LENGTH:
        return encode(identity, length_s / 2, has_audio=has_audio)
    if flaw is Flaw.WRONG_SOUND:
        return encode(identity, length_s, has_audio=not has_audio)
    if flaw is Flaw.HUGE_PICTURE:
        return encode(identity, 0.5, has_audio=has_audio, size=_HUGE)
    whole = encode(identity, length_s, has_audio=has_audio)
    if flaw is Flaw.UNKNOWN_CODEC:
        return whole.replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC")
    (length,) = struct.unpack(">I", whole[(at := whole.index(b"moov")) - 4 : at])
    return whole[: at + length // 2]
