"""`ut-clips simulator`: the Results API on your desk, until interrupted."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from ut_clips_dagster.errors import SettingsError
from ut_clips_dagster.simulator.server import serve


def serve_simulator(  # noqa: PLR0913 - the options of a command
    *,
    port: int,
    rate_limit: int,
    sessions: int,
    time_scale: float,
    appear_every_s: float | None,
    seed: int,
    faults: Sequence[str],
) -> None:
    """Serve until interrupted.

    Raises:
        SettingsError: an option or a fault makes no sense.
        OSError: the port is taken.
    """
    try:
        serve(
            port=port,
            rate_limit=rate_limit,
            sessions=sessions,
            time_scale=time_scale,
            appear_every_s=appear_every_s,
            seed=seed,
            faults=faults,
        )
    except ValidationError as error:
        raise SettingsError("; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())) from None
    except ValueError as error:
        raise SettingsError(f"{error}") from None
