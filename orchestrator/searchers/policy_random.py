"""Random policies of AutoAugment's space: the control that every policy search is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from orchestrator.searchers.observation import Observation
from search_spaces.augmentation import Decisions, DiscreteSpace


def propose(
    observed: Sequence[Observation[Decisions]],
    *,
    count: int,
    seed: int,
    space: DiscreteSpace,
) -> tuple[Decisions, ...]:
    """The decisions of the next `count` children, all equally likely whatever was observed.

    Child i is the same however many were asked for at a time.
    """
    numbers = range(len(observed), len(observed) + count)
    return tuple(space.sample(Random(f"random policy {number} of {seed}")) for number in numbers)
