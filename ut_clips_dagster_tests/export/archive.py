"""An archive to export from: clips of the gallery's tests, with the documents that an export looks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ut_clips_dagster.cli.sql_engine import connected
from ut_clips_dagster.export.report import Order, Report
from ut_clips_dagster.export.selection import selecting
from ut_clips_dagster.export.work import export
from ut_clips_dagster.storage.store import Store
from ut_clips_dagster_tests.gallery.archive import Archive, Clip, Session

SESSIONS = [
    Session(0, [Clip("no media, no transcript", start_ms=n) for n in range(6)]),
    Session(1, [Clip("Ünïcode\u2028\x00 </script>", "d", [(0, "hi <b> & --> there")]), Clip("quiet", start_ms=2)]),
    Session(2, [Clip("no poster", poster=False, sound=False), Clip("failed", status="ERROR", error="x", start_ms=3)]),
]
"""Nine stored clips of three sessions."""
STORED = 9


def fill(store: Store, sessions: Sequence[Session] = SESSIONS, *, real: bool = False) -> Archive:
    """Put sessions into the store as the assets leave them."""
    archive = Archive(store, real=real)
    for number, session in enumerate(sessions):
        archive.add(session, media=bool(number), transcripts=bool(number))
        store.update_document(f"sessions/{session.id}/clip_files.json", lambda _: b"{}")
    return archive


def run(
    store: Store, target: Path, kind: str, where: str = "", *, link: bool = False, shard_bytes: int = 10**9
) -> Report:
    """An export, as the command makes it."""
    order = Order(target, where, link, shard_bytes)
    with connected(store.uri, selecting(where)) as connection:
        return export(connection, store, kind, order, lambda _clips, _bytes: lambda _more_clips, _more_bytes: None)


def files(target: Path) -> set[str]:
    """What a person sees in an export."""
    paths = (path.relative_to(target) for path in target.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if not path.parts[0].startswith(".")}
