"""The grid over α, β, γ and its points that keep to a budget.

The cost of a point depends on three whole-number choices alone (repeats, channels, resolution), so
each distinct network is counted once, however fine the grid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from math import floor, lcm
from typing import TypeVar

from search_spaces.budget import Window, window
from search_spaces.compound_scaling import Baseline, ScalingCoefficients, repeats, scale
from trainer.complexity import depth_costs
from trainer.config import EfficientNetConfig, require

MAX_POINTS = 10_000_000
_ONE = Fraction(1)
_K = TypeVar("_K")


def grid_axis(*, step: Fraction, maximum: Fraction) -> tuple[Fraction, ...]:
    """1, 1 + step, … up to `maximum`, which is included where a step meets it.

    Raises: ConfigError for a step or maximum that leaves no choice, or more than 10 million points
    in the cube.
    """
    require(step > 0, f"--grid-step must be positive, got {float(step):g}")
    require(
        maximum > 1, f"--grid-max must be above 1, where the axes start, got {float(maximum):g}"
    )
    size = floor((maximum - 1) / step) + 1
    require(
        size > 1,
        f"--grid-step: {float(step):g} is longer than the axis from 1 to {float(maximum):g}; "
        f"use at most {float(maximum - 1):g}",
    )
    require(
        size**3 <= MAX_POINTS,
        f"--grid-step: {float(step):g} up to {float(maximum):g} makes {size**3:,} points; at most "
        f"{MAX_POINTS:,} are searched, so use a longer step or a smaller --grid-max",
    )
    return tuple(1 + step * i for i in range(size))


def within_formula(
    axis: Sequence[Fraction], *, target: Fraction, tolerance: Fraction
) -> Iterator[ScalingCoefficients]:
    """Yield the points of axis³ with |αβ²γ² - target| <= tolerance (arXiv:1905.11946, eq. 3).

    Whole numbers over the axis' common denominator: in floats (1.9, 1, 1) falls out of 2 ± 0.1.
    """
    unit = lcm(*(value.denominator for value in axis))
    allowed = window(target=target, tolerance=tolerance, unit=unit**5)
    numerators = {int(value * unit): value for value in axis}
    squares = [(number * number, value) for number, value in numerators.items()]
    for (width2, width), (resolution2, resolution) in product(squares, squares):
        rest = width2 * resolution2
        for number, depth in numerators.items():
            if number * rest > allowed.high:
                break
            if number * rest >= allowed.low:
                yield ScalingCoefficients(depth, width, resolution)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedGrid:
    """The distinct networks of a grid, told apart by what each axis builds."""

    depths: dict[tuple[int, ...], list[Fraction]]
    """Repeats -> all α that give them."""
    widths: dict[EfficientNetConfig, list[Fraction]]
    """The network at this width and nothing else changed -> all β that give it."""
    resolutions: dict[int, list[Fraction]]
    """Side in pixels -> all γ that give it."""

    @classmethod
    def of(cls, start: Baseline, axis: Sequence[Fraction]) -> CountedGrid:
        """The grid axis³ over `start`."""

        def at(
            depth: Fraction = _ONE, width: Fraction = _ONE, resolution: Fraction = _ONE
        ) -> EfficientNetConfig:
            return scale(start, ScalingCoefficients(depth, width, resolution))

        return cls(
            depths=_grouped(axis, lambda value: repeats(at(depth=value))),
            widths=_grouped(axis, lambda value: at(width=value)),
            resolutions=_grouped(axis, lambda value: at(resolution=value).resolution),
        )

    def within(self, allowed: Window) -> Iterator[ScalingCoefficients]:
        """Yield the points whose network has so many multiply-adds."""
        for macs, axes in self._networks():
            if macs in allowed:
                yield from (ScalingCoefficients(*values) for values in product(*axes))

    def nearest(self, macs: int) -> tuple[int, ...]:
        """The multiply-adds of the networks next below and next above (or at) `macs`."""
        counts = {cost for cost, _ in self._networks()}
        below = [cost for cost in counts if cost < macs]
        above = [cost for cost in counts if cost >= macs]
        return (*([max(below)] if below else []), *([min(above)] if above else []))

    def _networks(self) -> Iterator[tuple[int, tuple[list[Fraction], ...]]]:
        """Yield each network's multiply-adds with all α, all β and all γ that build it."""
        for (config, widths), (side, resolutions) in product(
            self.widths.items(), self.resolutions.items()
        ):
            costs = depth_costs(config.with_(resolution=side))
            for shape, depths in self.depths.items():
                yield costs.macs_at(shape), (depths, widths, resolutions)


def _grouped(axis: Sequence[Fraction], build: Callable[[Fraction], _K]) -> dict[_K, list[Fraction]]:
    groups: dict[_K, list[Fraction]] = {}
    for value in axis:
        groups.setdefault(build(value), []).append(value)
    return groups
