"""Words as the index knows them."""

from __future__ import annotations

import sqlite3

import pytest

from ut_clips_dagster.gallery import schema
from ut_clips_dagster.gallery.words import best_line, facet, match, searchable, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("I'd pay, here!", ["i", "d", "pay", "here"]),
        ("CAFÉ Straße ŽLUŤOUČKÝ", ["cafe", "straße", "zlutoucky"]),
        ("snake_case v1.2", ["snake", "case", "v1", "2"]),
        ("検索 ok", ["検", "索", "ok"]),
        (' "OR" * NEAR( ) - : ^ ', ["or", "near"]),
        ("\ue000statusSTORED", ["statusstored"]),
        ("", []),
    ],
)
def test_a_question_is_only_its_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.fixture
def index() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:")
    db.executescript(schema.TABLES)
    return db


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Hesitates at the checkout", "hesit CHECK"),
        ("Déjà vu", "deja"),
        ("deja vu", "Déjà"),
        ("она колеблется", "КОЛЕБ"),
        ("支払いの前で迷う", "迷う"),
        ("ชำระเงิน", "เงิน"),
        ("it's", "it's"),
        ("don\u2019t", "don't"),
        ("snake_case", "case"),
        ("İstanbul'da", "istanbul"),
        ("ﬁne № ½", "ﬁne"),
        ("emoji 👍🏽 here", "emoji 👍🏽"),
        ("a" * 300, "a" * 290),
    ],
)
def test_what_a_text_holds_is_found(index: sqlite3.Connection, text: str, asked: str) -> None:
    index.execute("insert into search (rowid, text) values (1, ?)", (searchable([text], []),))
    assert words_of(asked)
    assert index.execute("select rowid from search where search match ?", (match(words_of(asked), []),)).fetchall() == [
        (1,)
    ]


def test_a_filter_is_a_word_that_nobody_can_type(index: sqlite3.Connection) -> None:
    marked = [facet("status", "STORED")]
    index.execute("insert into search (rowid, text) values (1, ?)", (searchable(["a clip"], marked),))
    index.execute("insert into search (rowid, text) values (2, ?)", (searchable(["a clip " + marked[0]], []),))

    def found(expression: str) -> list[int]:
        return [n for (n,) in index.execute("select rowid from search where search match ?", (expression,))]

    assert found(match(["clip"], marked)) == [1]
    assert found(match(words_of(marked[0]), [])) == [2]
    assert found(match([], [facet("status", "ERROR")])) == []


def test_the_moment_is_the_first_line_with_the_most_of_the_words() -> None:
    lines = ["The checkout.", "Hm, I hesitate.", "I hesitate at the checkout", "hesitating at checkout"]
    assert best_line(["hesit", "checkout"], lines) == 2
    assert best_line(["hesit"], lines) == 1
    assert best_line(["esit"], lines) is None
