"""The asset that docs/downstream.md shows does what the page says."""

from __future__ import annotations

import csv
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from ut_clips_dagster.definitions import build_definitions
from ut_clips_dagster.partitions import SESSIONS
from ut_clips_dagster.settings import load_settings
from ut_clips_dagster.storage.columns import as_rows
from ut_clips_dagster.storage.metadata_table import SCHEMA, MetadataTable

PAGE = Path(__file__).parents[1] / "docs" / "downstream.md"
STUDIES = ["00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"]
SUNDAY = datetime(2026, 3, 1, 23, 30, tzinfo=timezone.utc)


def session_rows(number: int) -> list[dict[str, Any]]:
    """Two stored clips of half a minute and one that failed; each session an hour after the one before."""
    ended = SUNDAY + timedelta(hours=number)
    known = {"session_id": f"{number:08d}-0000-4000-8000-000000000000", "study_uuid": STUDIES[number % 2],
             "listed": True, "time_start_ms": 0, "time_end_ms": 30_000, "session_finished_at": ended}  # fmt: skip
    return [{**dict.fromkeys(SCHEMA.names), **known, "clip_uuid": str(n), "status": status}
            for n, status in enumerate(["STORED", "STORED", "ERROR"])]  # fmt: skip


def test_clips_per_study_and_week_of_many_partitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UT_CLIPS_ARCHIVE", str(tmp_path / "archive"))
    example, joined = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    shown: dict[str, Any] = {}
    exec(compile(example, str(PAGE), "exec", dont_inherit=True), shown)
    sessions = [session_rows(number) for number in range(6)]
    table = MetadataTable.of_archive(str(tmp_path / "archive"))
    for rows in sessions:
        table.replace(rows[0]["session_id"], as_rows(SCHEMA, rows))
    reports = shown["Reports"](directory=str(tmp_path / "reports"))
    definitions = dg.Definitions.merge(
        build_definitions(load_settings(api=False)),
        dg.Definitions(assets=[shown["clips_per_week"]], resources={"reports": reports}),
    )
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions(SESSIONS, [rows[0]["session_id"] for rows in sessions[:5]])
        job = definitions.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey("clips_per_week")])
    (made,) = result.asset_materializations_for_node("clips_per_week")

    assert made.metadata["dagster/row_count"].value == 3
    with (tmp_path / "reports" / "clips_per_week.csv").open() as file:
        weeks = [tuple(row.values()) for row in csv.DictReader(file)]
    assert weeks == [
        (STUDIES[0], "2026-02-23", "1", "2", "1.0"),  # Sunday, 23:30
        (STUDIES[0], "2026-03-02", "2", "4", "2.0"),
        (STUDIES[1], "2026-03-02", "2", "4", "2.0"),  # of three sessions one is no partition
    ]
    exec(joined, shown)
    dg.Definitions.validate_loadable(shown["defs"])
