"""What all commands share at the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from ut_clips_dagster.errors import ClipsError

console = Console()
errors = Console(stderr=True)

EXIT_COULD_NOT_RUN = 1
EXIT_INTERRUPTED = 130


@contextmanager
def failing_plainly() -> Iterator[None]:
    """Turn our errors into a message and exit code 1: no stack trace for what a person can mend."""
    try:
        yield
    except ClipsError as error:
        errors.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_COULD_NOT_RUN) from None
    except KeyboardInterrupt:
        errors.print("Stopped. What is stored is kept; run the command again to go on.")
        raise typer.Exit(EXIT_INTERRUPTED) from None
