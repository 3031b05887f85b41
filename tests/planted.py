"""Rewards of policies with a known truth, for searches that must find it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from orchestrator.searchers.observation import Observation

NOISE = 0.01
"""Standard deviation of an accuracy measured once."""


@dataclass(frozen=True)
class PlantedReward:
    """Accuracies in AutoAugment's space: 0.79 on average, at most 0.9.

    Four types help, the more the likelier they are and the nearer to a magnitude of their own; four
    harm, whatever their magnitude; the others do nothing.
    """

    effects: tuple[float, ...]
    magnitudes: tuple[int, ...]

    def __call__(self, decisions: Sequence[int]) -> float:
        """The expected accuracy."""
        types, tenths, levels = np.asarray(decisions).reshape(-1, 3).T
        effect = np.asarray(self.effects)[types]
        fit = 1 - 1.5 * np.abs(levels - np.asarray(self.magnitudes)[types]) / 9
        return 0.8 + 0.1 * float(np.mean(effect * tenths / 10 * np.where(effect > 0, fit, 1)))


def planted_reward(seed: int) -> PlantedReward:
    """A truth by number."""
    rng = np.random.default_rng([seed, 1805])
    effects = np.zeros(16)
    matter = rng.permutation(16)[:8]
    effects[matter] = [*rng.uniform(0.5, 1, 4), *rng.uniform(-1.5, -0.5, 4)]
    return PlantedReward(tuple(effects), tuple(rng.integers(0, 10, 16).tolist()))


def measured(
    truth: Callable[[Sequence[int]], float], proposed: Sequence[tuple[int, ...]], *, seed: int
) -> list[Observation[tuple[int, ...]]]:
    """What training the proposed children once would show; the same for the same child and seed."""
    return [
        Observation(
            decisions=decisions,
            reward=truth(decisions)
            + NOISE * np.random.default_rng([seed, *decisions]).standard_normal(),
        )
        for decisions in proposed
    ]
