"""Counting the networks of a grid from their configurations, against building and tracing them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import partial
from statistics import median

from benchmarks.harness import Row, in_fresh_process, in_turn, seconds
from search_spaces.compound_scaling import Baseline
from search_spaces.screening import Screening, screen
from trainer.config import EfficientNetConfig

LIMIT_SECONDS = 0.5


def measure(quick: bool) -> Iterator[Row]:
    """The grid of α, β, γ in steps of 0.05 under twice B0's multiply-adds."""
    plan = screen_grid()
    configs = [candidate.config for candidate in plan.candidates]
    sample = configs[:1] if quick else configs[:: len(configs) // 3]
    times = in_turn(
        {
            "ours": partial(in_fresh_process, seconds_to_screen),
            "fvcore": partial(in_fresh_process, seconds_per_trace, sample),
        },
        rounds=1 if quick else 3,
    )
    ours, fvcore = median(times["ours"]), median(times["fvcore"])
    yield Row(
        name="screening-seconds",
        ours=ours,
        peer=LIMIT_SECONDS,
        peer_name="limit",
        unit=f"s for {plan.points:,} points",
        goal=1.0,
        bound="one cost table per distinct width and resolution, then a sum per depth",
    )
    yield Row(
        name="screening-per-candidate",
        ours=1e6 * ours / plan.points,
        peer=1e6 * fvcore,
        peer_name="fvcore, network built and traced",
        unit="µs a candidate",
        goal=50_000.0,
        bound="one cost table per distinct width and resolution, then a sum per depth",
    )


def screen_grid() -> Screening:
    """The default search of the paper's baseline."""
    return screen(Baseline.of("efficientnet-b0"), target=Fraction(2))


def seconds_to_screen() -> float:
    """A first screening: nothing is cached in a fresh process."""
    return seconds(screen_grid)


def seconds_per_trace(configs: Sequence[EfficientNetConfig]) -> float:
    """The mean over some networks of building one and having fvcore count it."""
    import torch
    from fvcore.nn import FlopCountAnalysis

    from trainer.models.build import build

    logging.getLogger("fvcore").setLevel(logging.ERROR)

    def count(config: EfficientNetConfig) -> int:
        image = torch.zeros(1, 3, config.resolution, config.resolution)
        counted: int = FlopCountAnalysis(build(config).eval(), image).total()
        return counted

    count(configs[0])  # the first trace also loads torch.jit
    return sum(seconds(partial(count, config)) for config in configs) / len(configs)
