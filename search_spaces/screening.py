"""Which networks of a grid are worth training under a budget, and under which name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import log
from typing import Any, Literal

from search_spaces.budget import short, window
from search_spaces.compound_scaling import (
    Baseline,
    ScalingCoefficients,
    channels,
    repeats,
    scale,
)
from search_spaces.grid import CountedGrid, grid_axis, within_formula
from trainer.complexity import Complexity, count
from trainer.config import EfficientNetConfig, Strict, require
from trainer.errors import ConfigError, unknown_value

CONSTRAINTS = ("counted", "formula")
Constraint = Literal["counted", "formula"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Strict):
    """A network worth training, and the grid points that build it."""

    coefficients: ScalingCoefficients
    """The one among `equal_points` that names it."""
    equal_points: tuple[ScalingCoefficients, ...]
    """All points that build it, in order; they part ways at φ > 1."""
    config: EfficientNetConfig
    cost: Complexity
    macs_ratio: float
    """Multiply-adds relative to the baseline's; F of the candidate's family."""

    def to_json(self) -> dict[str, Any]:
        """The row of a plan."""
        alpha, beta, gamma = self.coefficients.to_json()
        return {
            "alpha": alpha,
            "beta": beta,
            "gamma": gamma,
            "formula": float(self.coefficients.flops_factor),
            "macs": self.cost.macs,
            "macs_ratio": self.macs_ratio,
            "params": self.cost.params,
            "resolution": self.config.resolution,
            "channels": list(channels(self.config)),
            "repeats": list(repeats(self.config)),
            "equal_points": [point.to_json() for point in self.equal_points],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Screening(Strict):
    """What is left of a grid under a budget."""

    points: int
    within_formula: int
    within_counted: int
    """Both counts are among all points, whatever the constraint and the limit on parameters."""
    candidates: tuple[Candidate, ...]
    """Distinct networks, ordered by their naming points."""
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The `grid` and `candidates` objects of a plan."""
        return {
            "grid": {
                "points": self.points,
                "within_formula": self.within_formula,
                "within_counted": self.within_counted,
                "distinct": len(self.candidates),
            },
            "candidates": [candidate.to_json() for candidate in self.candidates],
        }


def screen(
    start: Baseline,
    *,
    target: Fraction,
    tolerance: Fraction = Fraction(1, 10),
    constraint: Constraint = "counted",
    step: Fraction = Fraction(1, 20),
    maximum: Fraction = Fraction(2),
    max_params: int | None = None,
) -> Screening:
    """The distinct networks of the grid whose cost is `target` ± `tolerance` times the baseline's.

    `counted` compares the multiply-adds of the network as built, `formula` αβ²γ².

    Raises: ConfigError for options that make no grid, and where no network is left.
    """
    if constraint not in CONSTRAINTS:
        raise unknown_value("--constraint", constraint, CONSTRAINTS)
    require(tolerance >= 0, f"--tolerance must not be negative, got {float(tolerance):g}")
    axis = grid_axis(step=step, maximum=maximum)
    base_macs = count(start.config).macs
    grid = CountedGrid.of(start, axis)
    points = {
        "formula": list(within_formula(axis, target=target, tolerance=tolerance)),
        "counted": list(grid.within(window(target=target, tolerance=tolerance, unit=base_macs))),
    }
    if not points[constraint]:
        raise ConfigError(_nothing_fits(grid, base_macs, target, tolerance, constraint))
    candidates = _below(max_params, _merged(start, points[constraint], base_macs))
    return Screening(
        points=len(axis) ** 3,
        within_formula=len(points["formula"]),
        within_counted=len(points["counted"]),
        candidates=candidates,
        warnings=tuple(_single_valued(candidates)),
    )


def candidate(start: Baseline, points: Sequence[ScalingCoefficients]) -> Candidate:
    """The network that all these points build, under the name of the most even among them."""
    return _candidate(start, sorted(points), count(start.config).macs)


def _candidate(start: Baseline, points: Sequence[ScalingCoefficients], base_macs: int) -> Candidate:
    config = scale(start, points[0])
    cost = count(config)
    name = points[0]
    if len(points) > 1:
        name = min(points, key=lambda p: (_unevenness(start, p, cost.macs, base_macs), p))
    return Candidate(
        coefficients=name,
        equal_points=tuple(points),
        config=config,
        cost=cost,
        macs_ratio=cost.macs / base_macs,
    )


def _unevenness(
    start: Baseline, point: ScalingCoefficients, point_macs: int, base_macs: int
) -> float:
    """The largest |log(cost/F^φ)| over φ = 1…7, where F is the cost at φ = 1."""
    growth = log(point_macs / base_macs)
    costs = (count(scale(start, point.power(phi))).macs for phi in range(2, 8))
    return max(abs(log(cost / base_macs) - phi * growth) for phi, cost in enumerate(costs, start=2))


def _merged(
    start: Baseline, points: Iterable[ScalingCoefficients], base_macs: int
) -> list[Candidate]:
    networks: dict[EfficientNetConfig, list[ScalingCoefficients]] = {}
    for point in sorted(points):
        networks.setdefault(scale(start, point), []).append(point)
    merged = [_candidate(start, equal, base_macs) for equal in networks.values()]
    return sorted(merged, key=lambda candidate: candidate.coefficients)


def _below(max_params: int | None, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    if max_params is None:
        return tuple(candidates)
    kept = tuple(c for c in candidates if c.cost.params <= max_params)
    smallest = min(c.cost.params for c in candidates)
    require(
        bool(kept),
        f"--max-params: {max_params:,} is below all {len(candidates)} networks within the budget; "
        f"the smallest has {smallest:,}",
    )
    return kept


def _nothing_fits(
    grid: CountedGrid, base_macs: int, target: Fraction, tolerance: Fraction, constraint: str
) -> str:
    ratios = [macs / base_macs for macs in grid.nearest(round(target * base_macs))]
    nearest = " and ".join(f"{ratio:.4g}x" for ratio in ratios)
    measure = "αβ²γ²" if constraint == "formula" else "counted cost"
    return (
        f"--flops-budget: no point of the grid has a {measure} within {float(tolerance):g} of "
        f"{float(target):.4g}x the baseline's {short(base_macs)}; the nearest counted costs are "
        f"{nearest}: change the budget, --tolerance, --grid-step or --grid-max"
    )


def _single_valued(candidates: Sequence[Candidate]) -> Iterable[str]:
    """What the search cannot decide, although the grid offers a choice."""
    if len(candidates) == 1:
        yield "only one network keeps to the budget: there is nothing to choose between"
        return
    built = {
        "resolution": {f"{c.config.resolution} px" for c in candidates},
        "width": {f"channels {' '.join(map(str, channels(c.config)))}" for c in candidates},
        "depth": {f"repeats {' '.join(map(str, repeats(c.config)))}" for c in candidates},
    }
    for axis, values in built.items():
        if len(values) == 1:
            yield (
                f"{axis} has a single value left: all {len(candidates)} networks within the budget "
                f"have {values.pop()}"
            )
