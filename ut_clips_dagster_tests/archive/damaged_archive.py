"""An archive to damage: made once, put back before each test; commands run in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from typer.testing import CliRunner

from ut_clips_dagster.archive.documents import SessionRecord
from ut_clips_dagster.archive.records import SessionRecords
from ut_clips_dagster.archive.verification import Difference
from ut_clips_dagster.cli.main import app
from ut_clips_dagster.cli.platform import archive_settings
from ut_clips_dagster.cli.verify import verify
from ut_clips_dagster.simulator import (
    Clip,
    Operation,
    SimulatorConfig,
    SimulatorServer,
    media_file,
)
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.metadata_table import SCHEMA, MetadataTable


@dataclass
class DamagedArchive:
    """Session `rich`: a clip, a re-cut one with both its files, one deleted upstream; session `plain`: one clip."""

    server: SimulatorServer
    folder: Path
    rich: str = ""
    plain: str = ""
    clip: str = ""
    recut: str = ""
    deleted: str = ""

    @property
    def root(self) -> Path:
        return self.folder / "now" / "archive"

    @property
    def records(self) -> SessionRecords:
        return SessionRecords(LocalStore(self.root))

    @property
    def table(self) -> MetadataTable:
        return MetadataTable(str(self.root))

    def document(self, session_id: str, name: str) -> Path:
        return self.root / "sessions" / session_id / f"{name}.json"

    def object(self, session_id: str, clip_uuid: str) -> Path:
        file = self.record(session_id).clip_files.newest_of(clip_uuid)
        assert file
        return self.root / file.storage_path

    def record(self, session_id: str) -> SessionRecord:
        return self.records.read(session_id)

    @contextmanager
    def settings(self) -> Iterator[None]:
        """The environment in which commands find it."""
        settings = {
            **self.server.environment,
            "UT_CLIPS_ARCHIVE": str(self.root),
            "UT_CLIPS_POLL_INTERVAL_S": "0.02",
            "DAGSTER_HOME": str(self.folder / "now" / "dagster"),
            "COLUMNS": "300",
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, value)
            yield

    def put_back(self) -> None:
        """As it was made; the simulator's log is empty."""
        shutil.rmtree(self.folder / "now", ignore_errors=True)
        shutil.copytree(self.folder / "made", self.folder / "now")
        self.server.requests.clear()

    def overwrite_rows(self, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        """Someone else writes the table."""
        rows = change(self.table.read())
        arrow = pa.Table.from_pandas(rows, schema=SCHEMA, preserve_index=False)
        write_deltalake(self.table.uri, arrow, mode="overwrite")

    def differences(self) -> list[Difference]:
        return verify(archive_settings(), read_data=True).differences

    def run(self, *words: str) -> tuple[int, str]:
        """Run a command as a person types it."""
        result = CliRunner().invoke(app, list(words))
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        return result.exit_code, result.output

    def found_and_repaired(self) -> list[Difference]:
        """Assert that `verify` finds something, and that the very commands it names repair it."""
        differences = self.differences()
        assert differences
        for command in dict.fromkeys(d.repair for d in differences):
            assert self.run(*command.removeprefix("ut-clips ").split())[0] == 0
        code, output = self.run("verify", "--read-data")
        assert code == 0, output
        return differences

    def asked_for(self) -> set[str | None]:
        """Clips that the API or the media host was asked for."""
        log = self.server.requests
        return {e.clip_uuid for operation in (Operation.GET_CLIP, Operation.MEDIA) for e in log.entries(operation)}

    def assert_present_cuts_are_right(self) -> None:
        """The file that the documents name for each listed clip is what the simulator serves."""
        for session_id in (self.rich, self.plain):
            record = self.record(session_id)
            for clip in self.server.world.clips(session_id):
                listed = next(c for c in record.clip_list.listed if c.clip_uuid == clip.clip_uuid)  # type: ignore[union-attr]
                file = record.clip_files.of(listed)
                assert file
                assert (self.root / file.storage_path).read_bytes() == media_file(self.server.world.render(clip)).read()


def another_value(column: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Another value in one cell of the first row."""
    rows, value = rows.copy(), rows[column].iloc[0]
    dtype = str(rows[column].dtype)
    if "datetime" in dtype:
        changed: Any = value + pd.Timedelta(seconds=1) if not pd.isna(value) else pd.Timestamp.now("UTC")
    elif dtype == "boolean":
        changed = not value
    elif dtype == "string":
        changed = "changed" if pd.isna(value) else f"{value}x"
    else:
        changed = 1 if pd.isna(value) else value + 1
    rows.loc[rows.index[0], column] = changed
    return rows


@contextmanager
def archive_to_damage(folder: Path) -> Iterator[DamagedArchive]:
    config = SimulatorConfig(rate_limit=1_000_000, sessions=0, generation_s=0.01)
    with SimulatorServer(config) as server:
        bench = DamagedArchive(server, folder)
        with bench.settings():
            _make(bench)
        shutil.move(folder / "now", folder / "made")
        yield bench


def _make(bench: DamagedArchive) -> None:
    world = bench.server.world
    bench.rich, bench.plain = (world.add_session().session_id for _ in range(2))
    clip, recut, deleted = (world.add_clip(bench.rich) for _ in range(3))
    world.add_clip(bench.plain)
    bench.clip, bench.recut, bench.deleted = clip.clip_uuid, recut.clip_uuid, deleted.clip_uuid
    assert bench.run("archive")[0] == 0
    _cut_anew(bench, recut)
    world.delete_clip(bench.rich, bench.deleted)
    code, output = bench.run("archive", "--session", bench.rich)
    assert code == 0, output
    assert len(bench.record(bench.rich).clip_files.files) == 4
    assert bench.differences() == []


def _cut_anew(bench: DamagedArchive, clip: Clip) -> None:
    bench.server.world.recut_clip(bench.rich, clip.clip_uuid, clip.time_start_ms + 500, clip.time_end_ms)
