"""The platform as the commands use it: settings, Dagster instance, definitions and archive, opened together."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.settings import Settings, check_text, load_env_file, load_settings
from ut_clips_dagster.storage.local import LocalStore
from ut_clips_dagster.storage.store import Store

if TYPE_CHECKING:
    from dagster import DagsterInstance, Definitions

    from ut_clips_dagster.account import Account
    from ut_clips_dagster.resources import ArchiveResource, ResultsApiResource

DEFAULT_HOME = Path(".dagster")
INSTANCE_CONFIG = Path(__file__).parents[1] / "dagster.yaml"
"""The instance's configuration we ship; the project's own `dagster.yaml` is a link to it."""


@dataclass(frozen=True)
class Platform:
    """Everything a command works with."""

    settings: Settings
    instance: DagsterInstance
    definitions: Definitions
    archive: ArchiveResource
    results_api: ResultsApiResource

    @property
    def account(self) -> Account:
        """What all is called."""
        return self.archive.account


def open_platform(*, api: bool = True) -> Platform:
    """Validate the settings, then open the Dagster instance in DAGSTER_HOME, or in .dagster/.

    Args:
        api: False for commands that ask the API nothing: they need no credentials.

    Raises:
        SettingsError: naming every setting that is wrong, or why the instance cannot be used with this archive.
    """
    settings = load_settings(api=api)
    instance = open_instance()
    from ut_clips_dagster.definitions import archive_resource, build_definitions, results_api_resource

    archive = archive_resource(settings)
    archive.check(instance)
    definitions = build_definitions(settings)
    results_api: Any = results_api_resource(settings)
    if api:
        results_api = results_api.process_config_and_initialize()  # resolves the secrets
    return Platform(
        settings,
        instance,
        definitions,
        archive,
        results_api,
    )


def open_instance() -> DagsterInstance:
    """The Dagster instance in DAGSTER_HOME, or in .dagster/.

    Raises:
        SettingsError: it cannot be opened.
    """
    load_env_file()
    return opened(dagster_home())


def opened(home: Path) -> DagsterInstance:
    """The Dagster instance in a directory.

    Raises:
        SettingsError: it cannot be opened.
    """
    check_text(home / INSTANCE_CONFIG.name)
    from dagster import DagsterInstance  # a second to import: settings are checked before

    try:
        return DagsterInstance.from_config(str(home))
    except Exception as error:
        raise SettingsError(f"The Dagster instance in {home} cannot be opened: {str(error)[:300]}") from error


def expanded(what: str, named: str | Path) -> Path:
    """A path as a person writes it: `~` and `~name` are home directories.

    Args:
        what: the option or variable that names it.
        named: the path.

    Raises:
        SettingsError: it is blank or not UTF-8, or there is no such home directory.
    """
    text = str(named)
    if not text.strip() or "\0" in text or text != text.encode(errors="replace").decode():
        raise SettingsError(f"{what} {text!r} names no path.")
    try:
        return Path(named).expanduser()
    except RuntimeError:
        raise SettingsError(f"{what} {named} names no home directory.") from None


def home_path() -> Path:
    """DAGSTER_HOME, or .dagster/ here; nothing is created.

    Raises:
        SettingsError: it names a home directory (`~name`) that does not exist.
    """
    return expanded("DAGSTER_HOME", os.environ.get("DAGSTER_HOME") or DEFAULT_HOME).absolute()


def missing_home() -> str:
    """What is wrong where DAGSTER_HOME names no directory; nothing where it is not set: there need be no instance."""
    home = home_path()
    if not os.environ.get("DAGSTER_HOME") or home.is_dir():
        return ""
    return f"DAGSTER_HOME {home} is {'no directory' if home.exists() else 'not there'}. Is it mounted, and is it meant?"


def dagster_home() -> Path:
    """DAGSTER_HOME, or .dagster/ here, with the instance's configuration we ship."""
    home = home_path()
    os.environ["DAGSTER_HOME"] = str(home)  # Dagster itself takes absolute paths only
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not (home / INSTANCE_CONFIG.name).exists():
            shutil.copy(INSTANCE_CONFIG, home)
    except OSError as error:
        raise SettingsError(f"DAGSTER_HOME {home} cannot be used: {error.strerror}.") from error
    return home


def archive_settings() -> ArchiveResource:
    """The archive alone, for commands that ask the API nothing: they need no credentials.

    Raises:
        SettingsError: UT_CLIPS_ARCHIVE is wrong.
    """
    from ut_clips_dagster.definitions import archive_resource

    return archive_resource(load_settings(api=False))


def store_of(root: str) -> Store:
    """The store of the archive that UT_CLIPS_ARCHIVE names; a directory needs no client of a cloud."""
    if "://" not in root:
        return LocalStore(Path(root))
    return archive_settings().store()
