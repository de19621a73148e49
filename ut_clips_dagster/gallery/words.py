"""Words as the index knows them, and questions put to it.

The index is FTS5's `unicode61` without positions: it finds documents that hold all of some words, newest first, and
never ranks. Filters are words, too, which nobody can type (they begin with a private-use character): so a common word
and a rare filter meet within the index, instead of in a join over every clip that holds the word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

MAX_WORDS = 12
"""Of one question; more only narrow what is already narrow."""
Endings = Callable[[str], Sequence[str]]
"""The index's words that begin like this one; none when they are too many, or when it is short."""
_FACET = "\ue000"
_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile("([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff])")
"""Scripts that put no space between words: each of their characters is a word of its own."""


@lru_cache(maxsize=1024)  # sessions follow each other, and the others are few
def facet(kind: str, value: str) -> str:
    """The word that marks a document for a filter."""
    return _FACET + kind + "".join(_WORD.findall(value.casefold()))


def searchable(texts: Iterable[str], facets: Iterable[str]) -> str:
    """A document's text, as it is put into the index; the same texts always make the same one."""
    return " ".join([*map(_spaced, texts), *facets])


def words_of(text: str) -> list[str]:
    """The words of a text, folded: without case and accents."""
    return [word for word in _WORD.findall(_spaced(folded(text))) if word]


def folded(text: str) -> str:
    """Without case and accents, as the index compares."""
    if text.isascii():
        return text.lower()
    # no compatibility forms: the index folds none, and "№" stays what it is
    plain = "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    return unicodedata.normalize("NFC", plain).lower()


def match(words: Sequence[str], facets: Sequence[str], endings: Endings = lambda _: ()) -> str:
    """An FTS5 expression: documents with words that begin like these, and all of the facets.

    FTS5 gathers every document of a beginning that it has no list for before it answers; of whole words it takes what
    is needed. So where there are not many, all words that begin like it stand in its place.
    """
    return " AND ".join([*(f'"{facet}"' for facet in facets), *(_beginning(word, endings(word)) for word in words)])


def _beginning(word: str, whole: Sequence[str]) -> str:
    return f"({' OR '.join(f'{chr(34)}{each}{chr(34)}' for each in whole)})" if whole else f'"{word}" *'


def best_line(words: Sequence[str], lines: Sequence[str]) -> int | None:
    """The first of the lines that hold the most of the words; None when none holds any."""
    begins = re.compile("(?<![^\\W_])(" + "|".join(sorted(set(words), key=len, reverse=True)) + ")")
    best, best_hits = None, 0
    for number, line in enumerate(lines):
        hits = len(set(begins.findall(_spaced(folded(line)))))
        if hits > best_hits:
            best, best_hits = number, hits
    return best


def _spaced(text: str) -> str:
    plain = text.replace(_FACET, " ")
    return plain if plain.isascii() else _UNSPACED.sub(r" \1 ", plain)
