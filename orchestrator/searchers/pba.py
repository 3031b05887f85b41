"""Population-based augmentation: a schedule found while a population trains, from its scores.

Ho 2019, arXiv:1905.05393, §3. Members train side by side; after every generation the worst quarter
goes on from the weights of the best quarter, with a variation of their augmentation. What is found
is the augmentation over time of the winner and its ancestors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import ceil, isfinite
from typing import Final

import numpy as np

from orchestrator.errors import StageFailed
from orchestrator.searchers.chance import generator
from search_spaces.augmentation import Decisions
from search_spaces.population import POPULATION_TOPS, check_population
from trainer.config import require

_QUANTILE: Final = 4
_RESAMPLED: Final = 0.2
"""Chance that a parameter is drawn anew rather than moved."""
_LONGEST_MOVE: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A member at the end of a generation."""

    parameters: Decisions
    """What it was augmented by: 60 integers (`search_spaces.population`)."""
    score: float | None
    """Higher is better; None: its training failed, and its weights are lost."""

    def __post_init__(self) -> None:
        check_population(self.parameters)
        finite = self.score is None or isfinite(self.score)
        require(finite, f"pba: score must be finite or None, got {self.score}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NextMember:
    """A member at the beginning of a generation."""

    parent: int
    """Whose weights it goes on from: a place in the population of the generation before."""
    parameters: Decisions


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a schedule."""

    epochs: int
    parameters: Decisions


def start(size: int) -> tuple[NextMember, ...]:
    """A population that does not augment at all yet; every member is its own parent.

    Raises:
        ConfigError: it has fewer than two members, so that none could learn from another.
    """
    require(size >= 2, f"pba: the population needs at least 2 members, got {size}")
    nothing = (0,) * len(POPULATION_TOPS)
    return tuple(NextMember(parent=place, parameters=nothing) for place in range(size))


def step(population: Sequence[Member], *, seed: int, generation: int) -> tuple[NextMember, ...]:
    """The population of the next generation, in the order of this one.

    The worst quarter, and every member that failed, goes on from a random member of the best
    quarter with varied parameters; the others go on as they are. Of equals the later is the worse.

    Args:
        population: The members at the end of the generation.
        seed: Of the whole search.
        generation: Number of the generation that has ended, from 0.

    Raises:
        StageFailed: no member has a score.
    """
    require(
        len(population) >= 2, f"pba: the population needs at least 2 members, got {len(population)}"
    )
    ranked = sorted(range(len(population)), key=lambda place: _worth(population[place]))
    alive = [place for place in ranked if population[place].score is not None]
    if not alive:
        raise StageFailed(
            f"pba: none of {len(population)} members survived generation {generation}"
        )
    quarter = ceil(len(population) / _QUANTILE)
    worst = set(ranked[-max(quarter, len(population) - len(alive)) :])
    return tuple(
        _successor(population, alive[:quarter], generator(seed, generation, place))
        if place in worst
        else NextMember(parent=place, parameters=member.parameters)
        for place, member in enumerate(population)
    )


def evolve(
    scores: Sequence[Sequence[float | None]], *, size: int, seed: int
) -> tuple[tuple[NextMember, ...], ...]:
    """The population of every generation that has ended, and of the one to be trained next.

    Args:
        scores: A row for each generation that has ended, a score (or None) for each member.
        size: Members of the population.
        seed: Of the whole search.

    Raises:
        ConfigError: the population is too small, or a row has not one score for each member.
        StageFailed: no member of a generation has a score.
    """
    generations = [start(size)]
    for number, row in enumerate(scores):
        require(
            len(row) == size, f"pba: generation {number} has {len(row)} scores for {size} members"
        )
        population = [
            Member(parameters=member.parameters, score=score)
            for member, score in zip(generations[-1], row, strict=True)
        ]
        generations.append(step(population, seed=seed, generation=number))
    return tuple(generations)


def explore(parameters: Decisions, rng: np.random.Generator) -> Decisions:
    """A variation: each parameter is drawn anew with a chance of 20 %, else moved by at most 3.

    Way and length (0 to 3) of a move are drawn evenly; a move ends at the parameter's limits.
    """
    moves = rng.integers(0, _LONGEST_MOVE + 1, len(parameters))
    ways = rng.choice([-1, 1], len(parameters))
    anew = rng.integers(0, np.asarray(POPULATION_TOPS) + 1)
    moved = np.clip(np.asarray(parameters) + ways * moves, 0, POPULATION_TOPS)
    varied = np.where(rng.random(len(parameters)) < _RESAMPLED, anew, moved)
    return tuple(varied.tolist())


def lineage_schedule(
    parameters: Sequence[Decisions], *, interval: int, epochs: int
) -> tuple[Segment, ...]:
    """The schedule of a lineage, a generation's parameters each; the last go on to the end.

    Raises:
        ConfigError: there is no generation, or there are more than the epochs hold.
    """
    require(interval >= 1, f"pba: interval must be at least 1 epoch, got {interval}")
    require(
        0 < len(parameters) <= ceil(epochs / interval),
        f"pba: {epochs} epochs in generations of {interval} do not hold {len(parameters)} of them",
    )
    ends = [interval * (number + 1) for number in range(len(parameters) - 1)]
    return _merged(_segments([*ends, epochs], parameters))


def _worth(member: Member) -> tuple[bool, float]:
    """Sorts the best first and the failed last; of equals the earlier, as sorting is stable."""
    return (True, 0.0) if member.score is None else (False, -member.score)


def _successor(
    population: Sequence[Member], best: Sequence[int], rng: np.random.Generator
) -> NextMember:
    parent = best[int(rng.integers(len(best)))]
    return NextMember(parent=parent, parameters=explore(population[parent].parameters, rng))


def _segments(ends: Sequence[int], parameters: Sequence[Decisions]) -> list[Segment]:
    lengths = [end - begin for begin, end in pairwise([0, *ends])]
    return [
        Segment(epochs=length, parameters=values)
        for length, values in zip(lengths, parameters, strict=True)
        if length
    ]


def _merged(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Neighbours with the same parameters as one segment."""
    return tuple(
        Segment(epochs=sum(segment.epochs for segment in equals), parameters=parameters)
        for parameters, equals in groupby(segments, key=lambda segment: segment.parameters)
    )
