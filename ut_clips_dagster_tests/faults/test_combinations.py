"""Whatever fails together: nothing wrong is stored or called done, and the next run makes it good."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ut_clips_dagster.archive.session_work import SessionResult
from ut_clips_dagster.storage.store import Store
from ut_clips_dagster_tests.gcs_emulator import FaultKind, GcsEmulator

from .bench import Bench
from .judge import invariants
from .row import GcsFault

API_FAULTS = (
    "bad_request",
    "unauthorized",
    "forbidden",
    "not_found",
    "rate_limited",
    "rate_limited_no_headers",
    "server_error",
    "malformed_json",
    "truncated_json",
    "html",
    "unknown_fields",
    "reset",
)
CLIP_FAULTS = (*API_FAULTS, "unknown_status", "expired_link", "clip_error", "never_ready")
MEDIA_FAULTS = (
    "forbidden",
    "not_found",
    "server_error",
    "reset",
    "short_body",
    "endless_body",
    "chunked_body",
    "chunked_cut",
    "empty_body",
    "html",
    "wrong_content_type",
    "redirect",
    "redirect_private",
)
GCS_FAULTS: tuple[FaultKind, ...] = (
    "status_412",
    "status_429",
    "status_503",
    "forbidden",
    "reset",
    "cut_upload",
    "ambiguous",
    "ambiguous_reset",
)


def _of_operation(operation: str, names: tuple[str, ...], targets: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.builds(
        lambda name, target, skip, count: (
            f"{name}:operation={operation},{target},skip={skip}" + (f",count={count}" if count else "")
        ),
        st.sampled_from(names),
        st.sampled_from(targets),
        st.integers(0, 2),
        st.one_of(st.none(), st.integers(1, 6)),
    )


BOTH, FIRST = "session_id={a}", "clip_uuid={a1}"
faults = st.one_of(
    _of_operation("list_clips", API_FAULTS, (BOTH,)),
    _of_operation("get_clip", CLIP_FAULTS, (BOTH, FIRST)),
    _of_operation("media", MEDIA_FAULTS, (BOTH, FIRST)),
)
gcs_faults = st.builds(
    GcsFault,
    st.sampled_from(GCS_FAULTS),
    st.integers(1, 4),
    contains=st.sampled_from(("{a1}", "sessions/{a}", "{a}")),
)


def check(bench: Bench, emulator: GcsEmulator | None = None) -> None:
    first = bench.run()
    if emulator:
        emulator.faults.clear()
    assert invariants(bench, first) == []
    assert first[bench.b.session_id].error is None
    bench.server.faults.clear()
    second = bench.run()
    assert invariants(bench, second) == []
    assert second[bench.a.session_id].error is None
    assert stored(bench.store) >= {*bench.listed(bench.a), *bench.listed(bench.b)}
    assert nothing_again(first, second, bench)


def stored(store: Store) -> set[str]:
    return {path.split("/")[3].removesuffix(".mp4") for path in store.walk("clips/")}


def nothing_again(first: dict[str, SessionResult], second: dict[str, SessionResult], bench: Bench) -> bool:
    """The second run stores only what the first has not."""
    before = first[bench.a.session_id].record.clip_files.files
    after = second[bench.a.session_id].record.clip_files.files
    return after[: len(before)] == before and second[bench.b.session_id].clips_stored == 0


@settings(max_examples=12, deadline=None)
@given(st.lists(faults, min_size=2, max_size=3))
def test_invariants_under_combined_failures(chosen: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, Bench(Path(folder), stalling=True) as bench:
        bench.add_faults(chosen)
        check(bench)


@pytest.mark.long
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(faults, max_size=1), st.lists(gcs_faults, min_size=1, max_size=2))
def test_invariants_under_combined_failures_in_gcs(
    gcs_emulator: GcsEmulator, chosen: list[str], storage: list[GcsFault]
) -> None:
    gcs_emulator.faults.clear()
    bucket = gcs_emulator.create_bucket(f"faults-{uuid.uuid4().hex[:12]}")
    with Bench(Path(), gcs=gcs_emulator, bucket=bucket, stalling=True) as bench:
        bench.add_faults(chosen, storage)
        check(bench, gcs_emulator)
