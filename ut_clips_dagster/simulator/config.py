"""Settings of one simulator."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from ut_clips_dagster.simulator.faults.faults import Fault

DEMO_TEST_ID = "3fa85f64-5717-4562-b3fc-2c963f66afa6"
"""The test of a simulator that was told of no other; the example of the official document."""

LowerUuid = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]


class SimulatorConfig(BaseModel):
    """Everything that shapes a simulator.

    Durations that end in `_s` are simulated seconds (see `SimulatedClock`).

    Attributes:
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        test_ids: tests that exist; sessions are dealt to them in turn.
        sessions: completed sessions at the start, over all tests.
        clips_total: clips of those sessions, exactly; None deals 0 to 5 to each.
        appear_every_s: time from one new session to the next; None is never.
        seed: the same seed makes the same sessions and clips.
        time_scale: simulated seconds per real second.
        rate_limit: requests per window and client (official: 10 per minute).
        rate_limit_per_operation: count each operation on its own (the official document does not say).
        window_s: length of a window.
        generation_s: generation time of every clip; None draws it per clip from a log-normal distribution.
        generation_median_s: median of that distribution.
        generation_sigma: its sigma (of the logarithm).
        client_id: the OAuth2 client.
        client_secret: its secret.
        token_ttl_s: lifetime of an access token (official: 1 hour).
        link_ttl_s: lifetime of a clip's link (official: 15 minutes).
        faults: faults that are on from the start.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    test_ids: tuple[LowerUuid, ...] = Field(default=(DEMO_TEST_ID,), min_length=1)
    sessions: int = Field(default=12, ge=0)
    clips_total: int | None = Field(default=None, ge=0)
    appear_every_s: float | None = Field(default=None, gt=0)
    seed: int = 0
    time_scale: float = Field(default=1.0, gt=0)
    rate_limit: int = Field(default=10, ge=1)
    rate_limit_per_operation: bool = False
    window_s: float = Field(default=60.0, gt=0)
    generation_s: float | None = Field(default=None, ge=0)
    generation_median_s: float = Field(default=8.0, gt=0)
    generation_sigma: float = Field(default=0.4, ge=0)
    client_id: str = "demo"
    client_secret: SecretStr = SecretStr("demo")
    token_ttl_s: float = Field(default=3600.0, gt=0)
    link_ttl_s: float = Field(default=900.0, gt=0)
    faults: tuple[Fault, ...] = ()
