"""Whatever one value of an answer is, it costs its clip or its session: never the batch or the next run."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ut_clips_dagster.archive.rows import clip_metadata, same_rows
from ut_clips_dagster.archive.session_work import SessionResult
from ut_clips_dagster.simulator import Fault, FaultName, Operation

from .bench import Bench
from .judge import invariants

JUNK = (
    None,
    "null",
    "true",
    '""',
    '"x"',
    "[]",
    "{}",
    "-1",
    "0",
    "1e400",
    "NaN",
    "-Infinity",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "9" * 5000,
    '"\\ud83d"',
    '"\\u0000"',
    '"../../etc"',
    '"' + "x" * 200_000 + '"',
    '"0001-01-01T00:00:00+14:00"',
    '"9999-12-31T23:59:59-14:00"',
    '"3FA85F64-5717-4562-B3FC-2C963F66AFA6"',
    "[[[[]]]]",
)
"""JSON in the place of a value; None takes the value away."""
CLIP = ("uuid", "name", "description", "timeStartMs", "timeEndMs", "videoUuid", "hasAudio", "hasCamera", "layout")
OF_THE_LIST = ("clips", "studyUuid", "videoRegions", "clips.0", "clips.0.layout.mainStream")
OF_THE_CLIP = ("clipUuid", "status", "clipUrl")
HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "date", "content-length")
HEADER_JUNK = (
    "",
    "-1",
    "NaN",
    "inf",
    "1e308",
    "9" * 400,
    "0",
    "soon",
    "1732191832",
    "1732191832614",
    "60000",
    "10, 10;w=60",
)

fields = st.sampled_from([*OF_THE_LIST, *(f"clips.0.{name}" for name in CLIP)])
list_faults = st.builds(
    Fault,
    name=st.just(FaultName.REPLACED),
    operation=st.just(Operation.LIST_CLIPS),
    at=fields,
    value=st.sampled_from(JUNK),
)
clip_faults = st.builds(
    Fault,
    name=st.just(FaultName.REPLACED),
    operation=st.just(Operation.GET_CLIP),
    at=st.sampled_from(OF_THE_CLIP),
    value=st.sampled_from(JUNK),
    skip=st.integers(0, 2),
)
header_faults = st.builds(
    Fault,
    name=st.just(FaultName.REPLACED),
    at=st.sampled_from([f"header.{name}" for name in HEADERS[:3]]),
    value=st.sampled_from(HEADER_JUNK),
)


def replaced(at: str, value: str | None, operation: Operation = Operation.LIST_CLIPS) -> Fault:
    return Fault(name=FaultName.REPLACED, operation=operation, at=at, value=value)


def assert_documents_and_rows_agree(bench: Bench) -> None:
    for session in (bench.a, bench.b):
        record = bench.records.read(session.session_id)
        assert same_rows(clip_metadata(record), bench.table.read([session.session_id]))


def assert_all_is_archived(bench: Bench, results: dict[str, SessionResult]) -> None:
    assert invariants(bench, results) == []
    assert [result.error for result in results.values()] == [None, None]
    assert {path.split("/")[3].removesuffix(".mp4") for path in bench.store.walk("clips/")} == {
        *bench.listed(bench.a),
        *bench.listed(bench.b),
    }
    assert_documents_and_rows_agree(bench)


@settings(max_examples=10, deadline=None)
@given(st.one_of(list_faults, clip_faults, header_faults))
@example(replaced("clips.0.timeEndMs", "9223372036854775808"))
@example(replaced("clips.0.name", "null"))
@example(replaced("clips.0.name", '"\\ud83d"'))
def test_one_value_of_session_a_costs_no_more_than_it_and_the_next_run_goes_on(fault: Fault) -> None:
    with tempfile.TemporaryDirectory() as folder, Bench(Path(folder)) as bench:
        session_id = None if fault.at.startswith("header.") else bench.a.session_id
        bench.server.faults.add(fault.model_copy(update={"session_id": session_id}))

        first = bench.run()

        assert invariants(bench, first) == []
        assert first[bench.b.session_id].error is None
        assert_documents_and_rows_agree(bench)

        bench.server.faults.clear()
        bench.time.sleep(900)
        assert_all_is_archived(bench, bench.run())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("uuid", '"no UUID"', "'no UUID' is not a UUID"),
        ("timeEndMs", "9223372036854775808", "timeEndMs: the number is beyond what 64 bits hold"),
    ],
)
def test_a_malformed_clip_is_named_the_other_is_stored_and_it_is_asked_for_again(
    bench: Bench, field: str, value: str | None, reason: str
) -> None:
    with bench:
        bench.server.faults.add(
            replaced(f"clips.0.{field}", value).model_copy(update={"session_id": bench.a.session_id})
        )
        malformed, other = bench.listed(bench.a)

        error = bench.run()[bench.a.session_id].error

        which = "entry 1" if field == "uuid" else f"the entry {malformed}"
        assert f"UserTesting's list is malformed at {which}: " in str(error)
        assert reason in str(error)
        record = bench.records.read(bench.a.session_id)
        assert [file.clip_uuid for file in record.clip_files.files] == [other]
        assert not record.is_complete
        rows = bench.table.read([bench.a.session_id]).set_index("clip_name")
        assert sorted(rows["status"]) == ["MISSING", "STORED"]
        assert list(bench.table.unfinished()["error"]) == [entry.reason for entry in record.clip_list.malformed]  # type: ignore[union-attr]

        bench.server.faults.clear()
        assert_all_is_archived(bench, bench.run())


def test_a_clip_that_is_stored_stays_so_while_its_entry_is_malformed(bench: Bench) -> None:
    with bench:
        bench.run()
        bench.server.faults.add(replaced("clips.0.name", "null"))

        error = bench.run()[bench.a.session_id].error

        assert f"malformed at the entry {bench.a1.clip_uuid}: name" in str(error)
        rows = bench.table.read([bench.a.session_id])
        row = rows[rows["clip_uuid"] == bench.a1.clip_uuid].iloc[0]
        assert (row["status"], row["listed"], row["clip_name"]) == ("STORED", True, bench.a1.name)
        assert bench.a.session_id in set(bench.table.unfinished()["session_id"])
        assert_documents_and_rows_agree(bench)

        bench.server.faults.clear()
        requests = bench.requests
        assert_all_is_archived(bench, bench.run())
        assert bench.requests - requests == 2, "nothing is asked for but the two lists"


def test_two_clips_of_one_id_are_malformed_unless_they_are_alike(bench: Bench) -> None:
    with bench:
        first, second = bench.listed(bench.a)
        bench.server.faults.add(
            replaced("clips.1.uuid", f'"{first}"').model_copy(update={"session_id": bench.a.session_id})
        )

        error = bench.run()[bench.a.session_id].error

        assert f"the entry {first}: the list holds it twice, with different values" in str(error)
        bench.server.faults.clear()
        assert_all_is_archived(bench, bench.run())
        assert second in bench.listed(bench.a)


def test_what_nobody_foresaw_costs_its_session_and_is_told_with_its_type(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bench:
        real = bench.records.write_listing

        def breaks(session_id: str, *rest: object) -> object:
            if session_id == bench.a.session_id:
                raise ZeroDivisionError("https://media.example/clip.mp4?X-Amz-Signature=secret")
            return real(session_id, *rest)  # type: ignore[arg-type]

        with monkeypatch.context() as broken:
            broken.setattr(bench.records, "write_listing", breaks)
            results = bench.run()

        error = str(results[bench.a.session_id].error)
        assert "unexpected ZeroDivisionError in pipeline.py, line " in error
        assert "secret" not in error
        assert results[bench.b.session_id].error is None
        assert_all_is_archived(bench, bench.run())
