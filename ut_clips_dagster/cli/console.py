"""What all commands share at the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.text import Text

from ut_clips_dagster.errors import ClipsError
from ut_clips_dagster.plain_text import visible

console = Console()
errors = Console(stderr=True)

EXIT_COULD_NOT_RUN = 1
EXIT_INTERRUPTED = 130


def say(text: str, *, to: Console = console, style: str = "") -> None:
    """Print text that may hold a stranger's: no markup, no link, no control character; line breaks stay."""
    to.print(Text(visible(text), style=style), highlight=False, soft_wrap=True)


def cell(value: object) -> Text:
    """A value as one line of a table: no markup, no link, no control character; nothing for None."""
    return Text("" if value is None else visible(str(value), keep=""))


@contextmanager
def failing_plainly() -> Iterator[None]:
    """Turn our errors into a message and exit code 1: no stack trace for what a person can mend."""
    try:
        yield
    except ClipsError as error:
        say(str(error), to=errors, style="red")
        raise typer.Exit(EXIT_COULD_NOT_RUN) from None
    except KeyboardInterrupt:
        errors.print("Stopped. What is stored is kept; run the command again to go on.")
        raise typer.Exit(EXIT_INTERRUPTED) from None
