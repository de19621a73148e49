r"""Text of strangers made safe to show: clip names, answers, headers and file names are what somebody else typed.

A terminal obeys escape sequences, a log takes a line break for its next entry, and marks of writing direction show
text in another order than it has. Here they become visible, as Python writes them: `\x1b`, `\u202e`. What a program
reads (documents, rows, JSON, CSV) stays exact.
"""

from __future__ import annotations

import unicodedata

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control, format (writing direction, invisible marks), lone surrogates, line and paragraph separators."""
_JOINERS = "\u200c\u200d"
"""Format characters that only join letters or emoji, and are needed to write some languages."""


def visible(text: str, keep: str = "\n") -> str:
    """The text with everything that does more than show a letter made visible.

    Args:
        text: anything.
        keep: characters that are ours to use; a line break, unless it has to be one line.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c in keep or c in _JOINERS or unicodedata.category(c) not in _UNSAFE else _name(c) for c in text
    )


def one_line(text: str, longest: int = 200) -> str:
    """The text on one line, with single spaces, and not longer than that."""
    spaced = visible(" ".join(text[: 4 * longest].split()), keep="")
    return spaced if len(spaced) <= longest and len(text) <= 4 * longest else spaced[: longest - 1] + "…"


def _name(character: str) -> str:
    return character.encode("unicode_escape").decode()
