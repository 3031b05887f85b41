"""One axis grown alone to a given cost: what compound scaling is compared with.

The control experiment of Tan & Le 2019 (arXiv:1905.11946, table 7) scales depth, width or
resolution alone to about the cost of the compound network. Networks are discrete, so the cost is
met only nearly; how nearly is part of the answer.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, lcm
from typing import Literal, TypeAlias

from search_spaces.compound_scaling import Baseline, ScalingCoefficients, scale
from trainer.complexity import count
from trainer.config import EfficientNetConfig
from trainer.models.baselines import BASELINES
from trainer.models.rounding import round_resolution

Axis: TypeAlias = Literal["depth", "width", "resolution"]

_ONE = Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisScaling:
    """A network that differs from the baseline in one axis."""

    factors: ScalingCoefficients
    """On the baseline's axes; the other two are 1."""
    config: EfficientNetConfig


def nearest_in_cost(
    start: Baseline, axis: Axis, macs: int, *, resolution_multiple: int = 1
) -> AxisScaling:
    """The network on this axis, at or above the baseline, whose multiply-adds are nearest `macs`.

    Of two equally near the cheaper, of two that cost the same the one with more pixels. The factor
    is the shortest decimal that builds the network.
    """

    def factor(place: int) -> Fraction:
        return max(place * step, _ONE)

    def built(place: int) -> EfficientNetConfig:
        return _built(start, axis, factor(place), resolution_multiple)

    def cost(place: int) -> int:
        return count(built(place)).macs

    step = _step(start, axis, resolution_multiple)
    first = max(floor(_ONE / step), 1)
    places = range(first, 2 * _reaching(macs, cost, first) + 1)
    above = places[bisect_left(places, macs, key=cost)]  # the cost never falls with the factor
    below = max(above - 1, first)
    wanted = min(cost(below), cost(above), key=lambda found: (abs(found - macs), found))
    last = places[bisect_right(places, wanted, key=cost) - 1]
    config = built(last)
    begin = places[bisect_left(places, True, hi=last - first, key=lambda p: built(p) == config)]
    shortest = _shortest(factor(begin), factor(last))
    return AxisScaling(factors=_along(axis, shortest), config=config)


def _reaching(macs: int, cost: Callable[[int], int], first: int) -> int:
    place = first
    while cost(place) < macs:
        place *= 2
    return place


def _built(start: Baseline, axis: Axis, factor: Fraction, multiple: int) -> EfficientNetConfig:
    config = scale(start, _along(axis, factor))
    if axis != "resolution":
        return config
    return config.with_(resolution=round_resolution(start.resolution, factor, multiple=multiple))


def _along(axis: Axis, factor: Fraction) -> ScalingCoefficients:
    return ScalingCoefficients(
        depth=factor if axis == "depth" else _ONE,
        width=factor if axis == "width" else _ONE,
        resolution=factor if axis == "resolution" else _ONE,
    )


def _step(start: Baseline, axis: Axis, multiple: int) -> Fraction:
    """Half the distance of a lattice that has every factor at which a rounding changes.

    So each network is met: at such a factor, or halfway between two.
    """
    network = BASELINES[start.name]
    match axis:
        case "depth":  # ⌈repeats·factor⌉ changes above n/repeats
            repeats = lcm(*(stage.repeats for stage in network.stages))
            return 1 / (2 * repeats * start.depth)
        case "width":  # channels·factor is rounded at 8n + 4 and, by the 90 % rule, at 80n/9
            stages = (stage.channels for stage in network.stages)
            channels = lcm(network.stem_channels, network.head_channels, *stages)
            return 2 / (9 * channels * start.width)
        case "resolution":  # rounded at (n + 1/2)·multiple
            return Fraction(multiple, 4 * start.resolution)


def _shortest(low: Fraction, high: Fraction) -> Fraction:
    """The number from `low` to `high` with the fewest decimals, the largest of these."""
    unit = 1
    while ceil(low * unit) > floor(high * unit):
        unit *= 10
        if unit > 10**9:
            return high  # a single point, such as 4/3
    return Fraction(floor(high * unit), unit)
