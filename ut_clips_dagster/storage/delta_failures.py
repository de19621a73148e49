"""What delta-rs says of a failure, in words for a person."""

from __future__ import annotations

import re

from ut_clips_dagster.plain_text import one_line
from ut_clips_dagster.redaction import redact

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CAUSE = re.compile(r"\s*\n[\s↳]*")
"""delta-rs writes a failure and the causes of it one below the other, each with an arrow."""
_BODY = re.compile(r"<(\?xml|!doctype|html|error)\b.*", re.IGNORECASE | re.DOTALL)
_TOLD = re.compile(r"<(?:Code|Message)>([^<]+)")


def reason(error: Exception) -> str:
    """Which failure it was, and the last cause of it: which key, host or region, the first line alone does not say.

    Of a service's answer its code and its message, and no more: the rest may hold keys, tokens and signatures.
    """
    text = _CAUSE.sub("\n", _COLOUR.sub("", str(error))).strip()
    what, *causes = _BODY.sub("", text).strip().splitlines() or [type(error).__name__]
    told = [": ".join(part.splitlines()) for part in _TOLD.findall(text)]
    return ": ".join(one_line(redact(part)) for part in [what, *(told or causes[-1:])])
