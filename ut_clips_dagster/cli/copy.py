"""`ut-clips copy`: an archive to another place, verified."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ut_clips_dagster.archive.copying import ArchiveCopy, Copied
from ut_clips_dagster.archive.documents import Document
from ut_clips_dagster.archive.records import DOCUMENTS
from ut_clips_dagster.archive.wording import counted
from ut_clips_dagster.cli.console import console, errors, say
from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.media.documents import CLIP_MEDIA, ClipMediaDocument
from ut_clips_dagster.settings import archive_root, load_env_file, placeholder_settings
from ut_clips_dagster.storage.store import Store
from ut_clips_dagster.transcripts.documents import (
    CLIP_TRANSCRIPTS,
    TRANSCRIPT,
    ClipTranscriptsDocument,
    TranscriptDocument,
)

MAX_NAMED = 5
MODELS: Mapping[str, type[Document]] = {
    **DOCUMENTS,
    CLIP_MEDIA: ClipMediaDocument,
    TRANSCRIPT: TranscriptDocument,
    CLIP_TRANSCRIPTS: ClipTranscriptsDocument,
}
"""All documents that a session may have, by their names."""


def copy_archive(source: str, target: str) -> bool:
    """Copy; True when the target holds all that the source does.

    Raises:
        ClipsError: it could not run.
    """
    if not (source.strip() and target.strip()):
        raise SettingsError("SRC or DST is empty: name both places. Is a variable of the shell not set?")
    load_env_file()  # credentials of a cloud
    old, new = (_store(archive_root(place)) for place in (source, target))
    _check_apart(old.uri, new.uri)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[note]}"), console=console) as progress:
        bar = progress.add_task("Sessions", total=None, note="")

        def show(done: Copied, sessions: int) -> None:
            note = f"{done.bytes / 1e6:,.1f} MB copied, {done.skipped} files and documents were there"
            progress.update(bar, completed=done.sessions, total=sessions, note=note)

        copied = ArchiveCopy(old, new, MODELS).run(show)
    _report(copied, new.uri)
    return copied.is_whole


def _store(root: str) -> Store:
    from ut_clips_dagster.definitions import archive_resource

    return archive_resource(placeholder_settings().model_copy(update={"archive": root})).store()


def _check_apart(source: str, target: str) -> None:
    """A place within another would be copied into itself; a symbolic link does not make two of one."""
    one, other = (place if "://" in place else str(Path(place).resolve()) for place in (source, target))
    if f"{one}/".startswith(f"{other}/") or f"{other}/".startswith(f"{one}/"):
        raise SettingsError(f"{source} and {target} are one place, or one lies within the other: name two.")


def _report(copied: Copied, target: str) -> None:
    rows = ", ".join(f"{name} {count}" for name, count in copied.rows.items())
    say(
        f"{counted(copied.sessions, 'session')}: {counted(copied.files, 'file')} ({copied.bytes / 1e6:,.1f} MB) "
        f"and {counted(copied.documents, 'document')} copied, {copied.skipped} were there already. "
        f"Rows: {rows or 'none'}."
    )
    _name("otherwise at the new place, and left as they are there", copied.kept)
    _name("not copied; set it right and run it again", copied.failed)
    _name("new at the old place since; run it again", copied.lacking)
    if copied.is_whole:
        say(f"{target} holds all of it. Next: set UT_CLIPS_ARCHIVE={target}, then `ut-clips verify --read-data`.")


def _name(what: str, items: Sequence[str]) -> None:
    if items:
        more = f", and {len(items) - MAX_NAMED} more" if len(items) > MAX_NAMED else ""
        say(f"{len(items)} {what}: {'; '.join(items[:MAX_NAMED])}{more}", to=errors)
