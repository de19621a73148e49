"""What `verify` finds of damaged transcripts, and `repair` mends; and what a death at any write leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ut_clips_dagster.archive.verification import Difference
from ut_clips_dagster.storage.columns import as_rows
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.session_table import SessionTable
from ut_clips_dagster.transcripts.companions import companions, same_rows

from .conftest import A, Lab


def differences(lab: Lab) -> list[Difference]:
    return [
        difference
        for each in companions(lab.store)
        for difference in each.check(lab.record, each.table.read([lab.session_id]), read_data=True).differences
    ]


def repair(lab: Lab) -> list[str]:
    mended = [each.repair(lab.record) for each in companions(lab.store)]
    return [text for each in mended for text in (*each.done, *each.left)]


def make(lab: Lab) -> None:
    lab.fetch()
    lab.cut()


def made(lab: Lab) -> Lab:
    make(lab)
    assert differences(lab) == []
    return lab


def path(lab: Lab, name: str) -> Path:
    return next(p for p in lab.root.rglob(name) if p.is_file())


def test_what_is_not_made_yet_is_no_difference(lab: Lab) -> None:
    assert differences(lab) == []
    lab.fetch()
    assert differences(lab) == []


@pytest.mark.parametrize("name", ["transcript.json", "transcript.vtt", "clip_transcripts.json", f"{A}.vtt"])
def test_a_changed_byte_or_a_lost_file_is_found_and_repaired_without_a_request(lab: Lab, name: str) -> None:
    before = made(lab).files()
    for damage in (lambda p: p.write_bytes(p.read_bytes()[:-9] + b"#" + p.read_bytes()[-8:]), Path.unlink):
        damage(path(lab, name))
        assert differences(lab), f"{name} damaged, and nothing is found"
        assert repair(lab)
        if name == "transcript.vtt":  # nothing else has its bytes: they are asked for again
            assert lab.shelf.body(lab.session_id) is None
            lab.fetch()
            lab.cut()
        assert differences(lab) == []
        after = lab.files()
        volatile = f"sessions/{lab.session_id}/transcript.json"
        assert {k: v for k, v in after.items() if k != volatile} == {k: v for k, v in before.items() if k != volatile}
        assert volatile in after
    assert lab.requests() == (3 if name == "transcript.vtt" else 1)


@pytest.mark.parametrize("number", [0, 1])
def test_a_changed_lost_or_doubled_row_is_found_and_repaired_without_a_request(lab: Lab, number: int) -> None:
    made(lab)
    table: SessionTable = companions(lab.store)[number].table
    right = table.read()
    changed = right.copy()
    changed.loc[0, "cues" if number == 0 else "words"] = 99
    for wrong in (changed, right.iloc[:0], right.loc[[*right.index, 0]]):
        table.replace(lab.session_id, wrong)
        assert [d.kind for d in differences(lab)] == ["rows differ"]
        assert repair(lab)
        assert differences(lab) == []
        assert same_rows(table, right, table.read())
    assert lab.requests() == 1


def test_rows_that_no_document_explains_are_found_and_go(lab: Lab) -> None:
    made(lab)
    path(lab, "clip_transcripts.json").unlink()
    assert "document missing" in {d.kind for d in differences(lab)}
    repair(lab)
    assert differences(lab) == []
    assert len(lab.shelf.clips_table.read()) == 2


def test_files_beside_the_clips_are_recorded(lab: Lab) -> None:
    made(lab)
    recorded = companions(lab.store)[1].check(lab.record, None, read_data=False).recorded
    assert recorded == {name for name in lab.files() if name.startswith("clips/")}


def test_tables_are_made_anew_from_the_documents(lab: Lab) -> None:
    made(lab)
    for each in companions(lab.store):
        rows = each.table.read()
        assert len(rows)
        assert same_rows(each.table, each.rows(lab.session_id), rows)


class Killed(BaseException):
    """The process dies here."""


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """Dies at the given boundary: before the first write is 0, after it 1, and so on."""

    def arm(at: int) -> list[str]:
        passed: list[str] = []
        document, rows = LocalStore.update_document, SessionTable.replace

        def boundary(name: str) -> None:
            if len(passed) == at:
                raise Killed
            passed.append(name)

        def update_document(self: LocalStore, path: str, update: Any) -> bytes:
            boundary(path)
            content = document(self, path, update)
            boundary(path)
            return content

        def replace(self: SessionTable, session_id: str, frame: Any) -> None:
            boundary(self.name)
            rows(self, session_id, frame)
            boundary(self.name)

        monkeypatch.setattr(LocalStore, "update_document", update_document)
        monkeypatch.setattr(SessionTable, "replace", replace)
        return passed

    return arm


BOUNDARIES = range(2 * (3 + 5))
"""Before and after each write of a session with two clips: transcript, document, row; 2 files, document, rows, row."""


@pytest.mark.parametrize("at", BOUNDARIES)
def test_death_at_any_boundary_leaves_nothing_wrong_and_is_made_good_by_the_next_run(
    lab: Lab, dying: Callable[[int], list[str]], monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    dying(at)
    with pytest.raises(Killed):
        make(lab)
    monkeypatch.undo()
    found = differences(lab)
    assert {d.kind for d in found} <= {"rows differ"}, "documents before rows, files before documents"
    requests = lab.requests()

    make(lab)

    assert differences(lab) == []
    assert len(lab.shelf.clips_table.read()) == 2
    assert lab.requests() == requests + (at < 3), "what is recorded is not asked for again"


def test_no_boundary_is_left_out(lab: Lab, dying: Callable[[int], list[str]]) -> None:
    passed = dying(10_000)
    make(lab)
    assert len(passed) == len(BOUNDARIES), passed


def test_empty_row_sets_are_the_same(lab: Lab) -> None:
    table = lab.shelf.clips_table
    assert same_rows(table, as_rows(table.schema, []), table.read())
