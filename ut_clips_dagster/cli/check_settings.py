"""`ut-clips check-settings`: tries everything that the settings name, with as few requests as can be."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ut_clips_dagster.archive.wording import counted
from ut_clips_dagster.cli.console import say
from ut_clips_dagster.cli.platform import Platform, open_platform
from ut_clips_dagster.errors import ApiUnavailableError, BudgetExhaustedError, ClipsError
from ut_clips_dagster.health.delivery import check_urls
from ut_clips_dagster.known_sessions import check_archive_is_there
from ut_clips_dagster.results_api.client import ResultsApi
from ut_clips_dagster.storage.metadata_table import SCHEMA, MetadataTable, as_clip_metadata
from ut_clips_dagster.storage.session_table import SessionTable
from ut_clips_dagster.storage.store import Store

PROBE_TABLE = ".check_settings"
PROBE = "probe"


class ProbeTable(SessionTable):
    """A table of its own to try a commit with; without a row."""

    name = PROBE_TABLE
    schema = SCHEMA


class Checks:
    """Tries one thing after the other, and prints a line for each."""

    def __init__(self) -> None:
        self.failed = 0

    def try_(self, what: str, attempt: Callable[[], str]) -> bool:
        """Print `ok` with what the attempt says, or `failed` with why; True when it is ok."""
        try:
            detail = attempt()
        except ClipsError as error:
            self.failed += 1
            tell(what, "failed", str(error), style="red")
            return False
        tell(what, "ok", detail)
        return True


def tell(what: str, result: str, detail: str, style: str = "") -> None:
    """One line of what was tried."""
    say(f"{what}: {result}{f': {detail}' if detail else ''}", style=style)


def check_settings() -> bool:
    """Try everything; True when nothing failed. Ends within a minute, and asks the API once for each test.

    Raises:
        ClipsError: settings are missing or malformed, or DAGSTER_HOME cannot be used; the message names them.
    """
    platform = open_platform()
    checks = Checks()
    tell("Settings", "ok", f"complete, {counted(len(platform.settings.test_ids), 'test')}")
    with platform.instance as instance:
        tell("DAGSTER_HOME", "ok", str(instance.root_directory))
        used = _check_api(platform, checks)
        _check_archive(platform, checks)
    if platform.settings.alert_urls:
        urls = [url.get_secret_value() for url in platform.settings.alert_urls]
        checks.try_("UT_CLIPS_ALERT_URLS", lambda: _urls(urls))
    result = "all is as it should be" if not checks.failed else f"{checks.failed} failed"
    say(f"{result}; requests of the budget used: {used}")
    return not checks.failed


def _check_api(platform: Platform, checks: Checks) -> int:
    """A token, then one entry of each test's session list; how many requests it took."""
    try:
        opened = platform.results_api.client(waiting=False)
    except ClipsError as error:
        checks.failed += 1
        tell("Results API", "failed", str(error), style="red")
        return 0
    with opened as client:
        if not checks.try_("Token", lambda: _token(client)):
            tell("Tests", "not asked", "there is no token to ask with")
            return 0
        for number, test_id in enumerate(platform.settings.test_ids):
            left = len(platform.settings.test_ids) - number
            try:
                total = client.list_sessions(test_id, limit=1).meta.pagination.total_count
            except BudgetExhaustedError as error:
                tell("Tests", "not asked", f"{left} of them: {error}")  # no fault of the settings
                break
            except ClipsError as error:
                checks.failed += 1
                tell(f"Test {test_id}", "failed", str(error), style="red")
                if isinstance(error, ApiUnavailableError) and left > 1:
                    tell("Tests", "not asked", f"{left - 1} more, as the API does not answer")
                    break
            else:
                tell(f"Test {test_id}", "ok", "read" if total is None else counted(total, "session"))
        return client.pacer.requests_sent


def _token(client: ResultsApi) -> str:
    client.authenticate()
    return ""


def _check_archive(platform: Platform, checks: Checks) -> None:
    stores: list[Store] = []

    def write() -> str:
        store = platform.archive.store()
        check_archive_is_there(platform.instance, platform.archive.table(), platform.account)
        store.check_writable()
        stores.append(store)
        return store.uri

    if not checks.try_("Archive: write", write):
        return
    (store,) = stores
    if "://" not in store.uri:
        checks.try_("Archive: store a clip", lambda: _store_a_clip(store))
    checks.try_("Archive: commit to a Delta table", lambda: _commit(store.uri))
    checks.try_("Archive: read clip_metadata", lambda: _read(platform.archive.table()))


def _store_a_clip(store: Store) -> str:
    """The way that clips take, hard links included; in a bucket a write and a commit need the same rights."""
    path = f"clips/.probe/{uuid.uuid4()}.mp4"
    directory = Path(store.uri) / "clips" / ".probe"
    try:
        info = store.put_clip(path, iter([PROBE.encode()]), "video/mp4")
    finally:
        with suppress(OSError):
            (Path(store.uri) / path).unlink(missing_ok=True)
            directory.rmdir()
    return "" if info.size_bytes == len(PROBE) else "stored with another size"


def _commit(uri: str) -> str:
    root = uri if "://" in uri else f"{uri}/.tmp/{uuid.uuid4().hex}"
    try:
        ProbeTable(root).replace(PROBE, as_clip_metadata([]))
    finally:
        if "://" not in root:
            shutil.rmtree(root, ignore_errors=True)
    return ""


def _read(table: MetadataTable) -> str:
    return f"{counted(len(table.unfinished()), 'clip')} unfinished"


def _urls(urls: list[str]) -> str:
    check_urls(urls)
    return f"{len(urls)} understood; nothing was sent"
