"""RandAugment's grid: how many operations, at which common level (arXiv:1909.13719, §3)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeAlias

from orchestrator.errors import StageFailed
from orchestrator.searchers.observation import Observation, best
from trainer.augment.policy import RandomPolicy
from trainer.augment.presets import randaugment

Setting: TypeAlias = tuple[int, float]
"""(N, M): how many operations, at which of the levels up to 30."""


def propose(
    observed: Sequence[Observation[Setting]],
    *,
    count: int,
    seed: int,
    grid: Sequence[Setting],
) -> tuple[Setting, ...]:
    """The next `count` points of the grid that were not observed; empty once all were.

    The order is shuffled by the seed, so that a budget below the grid's size is a fair sample of it
    rather than its corner.
    """
    known = {seen.decisions for seen in observed}
    waiting = [setting for setting in dict.fromkeys(grid) if setting not in known]
    order = {
        (num_ops, magnitude): Random(f"{num_ops} at {magnitude:g} of {seed}").random()
        for num_ops, magnitude in waiting
    }
    return tuple(sorted(waiting, key=order.__getitem__)[:count])


def chosen(observed: Sequence[Observation[Setting]]) -> RandomPolicy:
    """The policy of the grid's best point.

    Raises:
        StageFailed: no child has a reward.
    """
    for winner in best(observed, 1):
        num_ops, magnitude = winner.decisions
        return randaugment(num_ops=num_ops, magnitude=magnitude)
    raise StageFailed(f"randaugment: none of {len(observed)} settings has a score")
