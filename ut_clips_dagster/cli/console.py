"""What all commands share at the terminal."""

from __future__ import annotations

import codecs
import io
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import typer
from rich.console import Console
from rich.text import Text

from ut_clips_dagster.errors import ClipsError, as_ours
from ut_clips_dagster.plain_text import visible

console = Console()
errors = Console(stderr=True)

EXIT_COULD_NOT_RUN = 1
EXIT_INTERRUPTED = 130
TRACEBACK = "UT_CLIPS_TRACEBACK"
"""Set to anything, this variable lets an exception that nobody foresaw end in its traceback."""


def say(text: str, *, to: Console = console, style: str = "") -> None:
    """Print text that may hold a stranger's: no markup, no link, no control character; line breaks stay."""
    to.print(Text(visible(text), style=style), highlight=False, soft_wrap=True)


def cell(value: object) -> Text:
    """A value as one line of a table: no markup, no link, no control character; nothing for None."""
    return Text("" if value is None else visible(str(value), keep=""))


@contextmanager
def signals_kept() -> Iterator[Callable[[], bool]]:
    """Says whether a person or a supervisor wanted this process to end since the block began.

    Dagster puts handlers of its own in place while a run executes, and what they catch between two steps is lost. So
    this looks at what the interpreter itself writes down of each signal, whoever handles it.
    """
    reading, writing = socket.socketpair()
    with reading, writing:
        reading.setblocking(False)
        writing.setblocking(False)
        before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        came: set[int] = set()

        def ending() -> bool:
            with suppress(BlockingIOError):
                came.update(reading.recv(1024))
            return bool(came & {signal.SIGINT, signal.SIGTERM})

        try:
            yield ending
        finally:
            signal.set_wakeup_fd(before)


@contextmanager
def failing_plainly() -> Iterator[None]:
    """Turn errors into a message and exit code 1: no stack trace for a person, unless UT_CLIPS_TRACEBACK is set.

    SIGTERM ends a command like Ctrl+C does, exit code 130: what it has begun is put away first.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # both: Dagster gives the one's handler to the other
        signal.signal(number, signal.default_int_handler)
    _print_whatever_comes()
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except ClipsError as error:
        _fail(str(error))
    except BrokenPipeError:
        raise  # whoever read our output has seen enough: click ends quietly
    except OSError as error:
        _fail(f"{error.filename or 'The system'}: {error.strerror or error}.")
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        if not _is_of_a_database(error):
            _fail(f"{as_ours(error)} {TRACEBACK}=1 before the command shows more.")
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        _fail(f"Dagster's database in DAGSTER_HOME cannot be used: {reason[:200]}.")
    except KeyboardInterrupt:
        errors.print("Stopped. What is stored is kept; run the command again to go on.")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _print_whatever_comes() -> None:
    r"""Let a terminal or file that is not of UTF-8 show what it cannot as `\u2603`, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name != "utf-8":
            stream.reconfigure(errors="backslashreplace")


def _fail(message: str) -> None:
    say(message, to=errors, style="red")
    raise typer.Exit(EXIT_COULD_NOT_RUN) from None


def _is_of_a_database(error: Exception) -> bool:
    """By its name: SQLAlchemy need not be imported to know."""
    return type(error).__module__.split(".")[0] in {"sqlalchemy", "sqlite3", "psycopg2"}
