"""What all commands share at the terminal."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import typer
from rich.console import Console

from ut_clips_dagster.errors import ClipsError

console = Console()
errors = Console(stderr=True)

EXIT_COULD_NOT_RUN = 1
EXIT_INTERRUPTED = 130


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
    """Turn our errors into a message and exit code 1: no stack trace for what a person can mend.

    SIGTERM ends a command like Ctrl+C does, exit code 130: what it has begun is put away first.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # both: Dagster gives the one's handler to the other
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    except ClipsError as error:
        errors.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(EXIT_COULD_NOT_RUN) from None
    except KeyboardInterrupt:
        errors.print("Stopped. What is stored is kept; run the command again to go on.")
        raise typer.Exit(EXIT_INTERRUPTED) from None
