"""`ut-clips simulator`: what its options may be, in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from ut_clips_dagster.errors import SettingsError


@contextmanager
def explaining_options() -> Iterator[None]:
    """Name an option, or a fault, that makes no sense.

    Raises:
        SettingsError: one does not.
    """
    try:
        yield
    except ValidationError as error:
        raise SettingsError("; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())) from None
    except ValueError as error:
        raise SettingsError(f"{error}") from None
