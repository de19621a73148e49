"""Text of strangers does nothing but show its letters: in a log, an error, a terminal, an event."""

from __future__ import annotations

import io
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from ut_clips_dagster.cli import console
from ut_clips_dagster.errors import ClipsError, StorageError
from ut_clips_dagster.plain_text import one_line, visible

ATTACKS = {
    "\x1b[2J\x1b[31mall is well": r"\x1b[2J\x1b[31mall is well",
    "\x9b31m": r"\x9b31m",
    "\x1b]8;;http://evil.example\x07click\x1b]8;;\x07": r"\x1b]8;;http://evil.example\x07click\x1b]8;;\x07",
    "invoice\u202efdp.exe": r"invoice\u202efdp.exe",
    "\u2066a\u2069\u200f": r"\u2066a\u2069\u200f",
    "one\u2028two\u2029three\x85four": r"one\u2028two\u2029three\x85four",
    "nul\0bell\a\b\r\x7f": r"nul\x00bell\x07\x08\r\x7f",
    "zero\u200bwidth\ufeff": r"zero\u200bwidth\ufeff",
    "lone \ud800": r"lone \ud800",
    "Zögert bei „Gutschein“ 👩‍💻 कि نمی‌خواهم": "Zögert bei „Gutschein“ 👩‍💻 कि نمی‌خواهم",
}
HOSTILE = st.text(
    st.one_of(
        st.characters(), st.sampled_from("\x1b\x9b\0\r\n\t\u2028\u2029\u202e\u2066\u200b\ufeff[](){}!<>&`*_|\\:/ab=@")
    )
)
BRACKETS = st.sampled_from(
    ["[red]", "[/]", "[/bold]", "[link=http://evil.example]x[/link]", ":smile:", "[@click=quit]"]
)


@pytest.mark.parametrize(("text", "shown"), ATTACKS.items())
def test_what_does_more_than_show_a_letter_becomes_visible(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert str(ClipsError(text)) == shown


def test_line_breaks_of_ours_stay_where_there_may_be_several_lines() -> None:
    assert visible("one\ntwo") == "one\ntwo"
    assert visible("one\ntwo", keep="") == r"one\ntwo"
    assert one_line("one\r\n\ttwo") == "one two"


def harmless(text: str, keep: str = "") -> bool:
    return all(
        c in f"{keep}\u200c\u200d" or unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in text
    )


@given(HOSTILE, st.integers(2, 300))
def test_any_text_is_harmless_one_line_and_short(text: str, longest: int) -> None:
    assert harmless(visible(text), keep="\n")
    assert harmless(one_line(text, longest))
    assert len(one_line(text, longest)) <= longest
    one_line(text, longest).encode()  # not even a lone surrogate
    assert harmless(str(StorageError(f"Cannot read {text}")), keep="\n")


@given(st.lists(st.one_of(HOSTILE, BRACKETS), max_size=5).map("".join))
def test_the_terminal_is_given_letters_only_however_the_text_is_made(text: str) -> None:
    """Rich would read markup, emoji codes and links; the terminal would obey escape sequences."""
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, color_system="truecolor", width=5000)
    console.say(text, to=terminal)
    assert out.getvalue() == visible(text) + "\n"

    out.truncate(0), out.seek(0)
    console.say(text, to=terminal, style="red")
    styled = re.sub(r"\x1b\[(31|0)m", "", out.getvalue())
    assert harmless(styled, keep="\n")

    table = Table("clip")
    table.add_row(console.cell(text))
    out.truncate(0), out.seek(0)
    Console(file=out, force_terminal=False, width=5000).print(table)
    assert harmless(out.getvalue(), keep="\n")
    assert visible(text, keep="").strip() in out.getvalue() or "  " in text


def test_a_cell_of_nothing_is_empty() -> None:
    assert console.cell(None).plain == ""
    assert console.cell(12).plain == "12"
