"""What is said in a session, as WebVTT: the same for the same session, from its start to its end."""

import random
from datetime import timedelta

from ut_clips_dagster.simulator.world.state import Session

LINES = (
    "OK, so I am looking at the front page now.",
    "I would click <i>here</i>, I think.",
    "Shipping &amp; returns is what I was looking for.",
    "Hm, that is not what I expected.",
    "The price says 5 &lt; 10, which is odd.",
    "Where is the coupon field?",
    "I like that it remembers my address.",
    "Let me try that again.",
    "That took a while to load.",
    "I am not sure what this button does.",
)
VOICES = ("Participant", "Participant", "Participant", "Moderator")
_LEAST_MS, _MOST_MS = 1_500, 7_000
_SILENCE_MS = 4_000


def transcript(session: Session) -> bytes:
    """The session's transcript; its clock starts with the session."""
    dice = random.Random(session.session_id)  # noqa: S311  # repeatable, no secret
    ended = session.finished_at or session.started_at
    length_ms = int((ended - session.started_at) / timedelta(milliseconds=1))
    blocks, at_ms = ["WEBVTT\n"], dice.randint(0, _SILENCE_MS)
    while at_ms < length_ms:
        end_ms = min(at_ms + dice.randint(_LEAST_MS, _MOST_MS), length_ms)
        text = f"<v {dice.choice(VOICES)}>{dice.choice(LINES)}"
        if dice.random() < 0.2:  # noqa: PLR2004
            text += f"\n{dice.choice(LINES)}"
        number = f"{len(blocks)}\n" if session.session_id[0] < "8" else ""
        blocks.append(f"{number}{_clock(at_ms)} --> {_clock(end_ms)} align:start\n{text}\n")
        at_ms = end_ms + dice.choice((0, 0, dice.randint(0, _SILENCE_MS)))
    return "\n".join(blocks).encode()


def _clock(milliseconds: int) -> str:
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}.{milliseconds:03d}"
