"""How fast the members of a family train here: measured within a few seconds, else estimated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TypeAlias

from orchestrator.errors import NotReady
from trainer.complexity import count
from trainer.config import Strict, TrainConfig

BUDGET_SECONDS = 10.0
"""For the whole table."""
EACH_SECONDS = 0.5
"""At least, of measured steps."""

Probe: TypeAlias = Callable[[TrainConfig, float], float | None]
"""Training images per second, from at least so many seconds of steps; None where a step does not
fit into memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed(Strict):
    """Of one member."""

    images_per_second: float
    measured: bool
    """False: from its multiply-adds and the speed of the largest network that was measured."""

    def to_json_for(self, config: TrainConfig) -> dict[str, float | str]:
        """The columns of a plan's row."""
        return {
            "step_seconds": config.batch_size / self.images_per_second,
            "images_per_second": self.images_per_second,
            "speed": "measured" if self.measured else "estimated",
        }


def speeds(
    configs: Mapping[str, TrainConfig],
    *,
    baseline: TrainConfig,
    probe: Probe,
    images: Callable[[TrainConfig], int],
    clock: Callable[[], float] = perf_counter,
) -> dict[str, Speed]:
    """Each member's speed, by name. Small ones are measured first, while there is time for them.

    Args:
        configs: The members.
        baseline: Measured first; says what the others will take.
        probe: Measures.
        images: How many a probe's batch has.
        clock: Seconds.

    Raises: NotReady where not even the baseline fits into memory.
    """
    end = clock() + BUDGET_SECONDS
    speed = probe(baseline, 2 * EACH_SECONDS)
    if speed is None:
        raise NotReady("no memory for a training step of the baseline; lower --resolution")
    macs_per_second = speed * count(baseline.model).macs
    found: dict[str, Speed] = {}
    for name in _cheapest_first(configs):
        config = configs[name]
        macs = count(config.model).macs
        # An untimed step, and then one at least that may begin just before the time is over.
        step = images(config) * macs / macs_per_second
        in_time = clock() + 2 * step + EACH_SECONDS < end
        speed = probe(config, EACH_SECONDS) if in_time else None
        macs_per_second = macs_per_second if speed is None else speed * macs
        found[name] = Speed(images_per_second=macs_per_second / macs, measured=speed is not None)
    return found


def _cheapest_first(configs: Mapping[str, TrainConfig]) -> Sequence[str]:
    return sorted(configs, key=lambda name: (count(configs[name].model).macs, name))
