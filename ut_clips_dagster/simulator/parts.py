"""The parts of one simulator, put together."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from ut_clips_dagster.simulator.admin.requestlog import RequestLog
from ut_clips_dagster.simulator.api.ratelimit import RateLimiter
from ut_clips_dagster.simulator.api.tokens import Tokens
from ut_clips_dagster.simulator.config import SimulatorConfig
from ut_clips_dagster.simulator.faults.faults import Faults
from ut_clips_dagster.simulator.world.clock import SimulatedClock
from ut_clips_dagster.simulator.world.generation import Generations
from ut_clips_dagster.simulator.world.links import Links
from ut_clips_dagster.simulator.world.world import World


@dataclass(frozen=True)
class Simulator:
    """What the routes and the gateway work on."""

    config: SimulatorConfig
    clock: SimulatedClock
    world: World
    faults: Faults
    requests: RequestLog
    limiter: RateLimiter
    generations: Generations
    tokens: Tokens
    links: Links

    @classmethod
    def create(cls, config: SimulatorConfig, now: Callable[[], float] = time.time) -> "Simulator":
        """A simulator of these settings; `now` is the source of real time, in seconds since the epoch."""
        clock = SimulatedClock(config.time_scale, now)
        return cls(
            config=config,
            clock=clock,
            world=World(config, clock),
            faults=Faults(config.faults),
            requests=RequestLog(),
            limiter=RateLimiter(clock, config.rate_limit, config.window_s),
            generations=Generations(
                config.seed, config.generation_s, config.generation_median_s, config.generation_sigma
            ),
            tokens=Tokens(clock, config.token_ttl_s),
            links=Links(clock, config.link_ttl_s),
        )
