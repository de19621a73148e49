"""Files that never change and that each test would read anew: the certificates, and the history of Dagster's tables.

They took a tenth of the tests' time: 43 ms for each HTTP client, 77 ms for each new database of Dagster's, of which
SQLite has one per run.
"""

from __future__ import annotations

import ssl
from functools import cache

from alembic.config import Config
from alembic.script import ScriptDirectory


def read_once() -> None:
    """From now on, in this process."""
    read_context, read_directory = ssl.create_default_context, ScriptDirectory.from_config
    of_file = cache(lambda cafile: read_context(cafile=cafile))
    directories: dict[str | None, ScriptDirectory] = {}

    def context(*purpose: ssl.Purpose, **of: str | None) -> ssl.SSLContext:
        return of_file(**of) if not purpose and of.keys() == {"cafile"} else read_context(*purpose, **of)

    def directory(config: Config) -> ScriptDirectory:
        location = config.get_main_option("script_location")
        if location not in directories:
            directories[location] = read_directory(config)
        return directories[location]

    ssl.create_default_context = context  # type: ignore[assignment]
    ScriptDirectory.from_config = directory  # type: ignore[method-assign,assignment]
