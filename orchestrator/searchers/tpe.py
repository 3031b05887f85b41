"""Tree-structured Parzen estimation, by Optuna, as a function of what has been observed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Point: TypeAlias = tuple[float, ...]

_MOST_STARTUP_TRIALS = 20
"""Hyperopt's number, which Fast AutoAugment's 200 trials of 30 axes began with."""


@dataclass(frozen=True, slots=True)
class LogUniform:
    """A positive parameter whose order of magnitude is in question."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Uniform:
    """A parameter of which all values from `low` to `high` are equally likely at first."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Categorical:
    """A choice among `count` things without an order; its coordinate is the place in their list."""

    name: str
    count: int


Axis: TypeAlias = LogUniform | Uniform | Categorical


@lru_cache(maxsize=64)
def suggest(
    space: Sequence[Axis],
    observed: Sequence[tuple[Point, float]],
    *,
    count: int,
    seed: int,
) -> tuple[Point, ...]:
    """The next points to try, given (point, score) pairs in any order; higher scores are better.

    The same arguments give the same points: the study is rebuilt in memory for every call, so a
    resumed search proposes what an uninterrupted one would (Bergstra 2011, NIPS, §4). Until there
    are 2n + 1 observations of n axes, 20 at most, the points are random.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    distributions = {axis.name: _distribution(axis) for axis in space}
    sampler = optuna.samplers.TPESampler(
        seed=seed + len(observed),
        n_startup_trials=min(2 * len(space) + 1, _MOST_STARTUP_TRIALS),
        constant_liar=True,
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for point, score in observed:
        params = {axis.name: _value(axis, at) for axis, at in zip(space, point, strict=True)}
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, value=score)
        )
    # Asked but not told: the constant liar keeps the points of one batch apart.
    asked = [study.ask(distributions) for _ in range(count)]
    return tuple(tuple(trial.params[axis.name] for axis in space) for trial in asked)


def _distribution(axis: Axis) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    match axis:
        case LogUniform(low=low, high=high):
            return FloatDistribution(low, high, log=True)
        case Uniform(low=low, high=high):
            return FloatDistribution(low, high)
        case Categorical(count=count):
            return CategoricalDistribution(range(count))


def _value(axis: Axis, coordinate: float) -> float:
    return int(coordinate) if isinstance(axis, Categorical) else coordinate
