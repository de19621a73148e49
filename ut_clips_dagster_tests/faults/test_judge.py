"""The judge of the fault matrix sees what is wrong: else its rows would prove nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from .bench import Bench
from .judge import invariants, run_row
from .row import Row


def _clip(bench: Bench) -> Path:
    return Path(bench.store.uri) / bench.path_of(bench.a1)


SPOILERS: dict[str, tuple[Callable[[Bench], object], str]] = {
    "a byte changed": (
        lambda bench: _clip(bench).write_bytes(_clip(bench).read_bytes()[:-1] + b"?"),
        "is not the clip",
    ),
    "cut short": (lambda bench: _clip(bench).write_bytes(_clip(bench).read_bytes()[:-1]), "is not the clip"),
    "rows gone": (lambda bench: bench.table.replace(bench.a.session_id, bench.table.read([])), "the table holds 0"),
    "a temporary file": (lambda bench: (Path(bench.store.uri) / ".tmp" / "x.part").write_bytes(b""), "was left behind"),
    "a link in a file": (
        lambda bench: (Path(bench.store.uri) / "x.json").write_text(json.dumps("?X-Amz-Signature=1")),
        "holds a secret",
    ),
    "another clip": (
        lambda bench: bench.server.world.add_clip(bench.a.session_id),
        "called complete without",
    ),
}


@pytest.mark.parametrize("name", SPOILERS)
def test_what_is_spoilt_is_seen(name: str, tmp_path: Path) -> None:
    spoil, says = SPOILERS[name]
    with Bench(tmp_path) as bench:
        results = bench.run()
        assert invariants(bench, results) == []
        spoil(bench)
        assert says in "; ".join(invariants(bench, results))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (Row("fine", message="some error"), "without 'some error'"),
        (Row("fine", requests=7), "8 requests, not 7"),
        (Row("fine", kept=1), "2 clips kept, not 1"),
        (Row("fine", rows=("ERROR", "STORED")), "rows"),
        (Row("fails", ("bad_request:session_id={a}",)), "unfinished: "),
        (Row("both fail", ("bad_request",), message="400", kept=0, rows=None, requests=2), "the other session"),
    ],
)
def test_a_row_that_expects_something_else_fails(row: Row, says: str, tmp_path: Path) -> None:
    assert says in "; ".join(run_row(row, tmp_path / "archive").wrong)
