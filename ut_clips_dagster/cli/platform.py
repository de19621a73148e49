"""The platform as the commands use it: settings, Dagster instance, definitions and archive, opened together."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dotenv import load_dotenv

from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from dagster import DagsterInstance, Definitions

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


def open_platform(*, api: bool = True) -> Platform:
    """Validate the settings, then open the Dagster instance in DAGSTER_HOME, or in .dagster/.

    Args:
        api: False for commands that ask the API nothing: they need no credentials.

    Raises:
        SettingsError: naming every setting that is wrong.
    """
    settings = load_settings(api=api)
    instance = open_instance()
    from ut_clips_dagster.definitions import archive_resource, build_definitions, results_api_resource

    definitions = build_definitions(settings)
    results_api: Any = results_api_resource(settings)
    if api:
        results_api = results_api.process_config_and_initialize()  # resolves the secrets
    return Platform(
        settings,
        instance,
        definitions,
        archive_resource(settings),
        results_api,
    )


def open_instance() -> DagsterInstance:
    """The Dagster instance in DAGSTER_HOME, or in .dagster/.

    Raises:
        SettingsError: it cannot be opened.
    """
    load_dotenv(".env")
    home = dagster_home()
    from dagster import DagsterInstance  # a second to import: settings are checked before

    try:
        return DagsterInstance.from_config(str(home))
    except Exception as error:
        raise SettingsError(f"The Dagster instance in {home} cannot be opened: {str(error)[:300]}") from error


def dagster_home() -> Path:
    """DAGSTER_HOME, or .dagster/ here, with the instance's configuration we ship."""
    if named := os.environ.get("DAGSTER_HOME"):
        home = Path(named).absolute()
    else:
        home = DEFAULT_HOME.absolute()
        os.environ["DAGSTER_HOME"] = str(home)
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
