"""Chance by address: the same seed and place give the same draws, whatever was drawn before."""

from __future__ import annotations

import numpy as np

from trainer.config import require


def generator(seed: int, *place: int) -> np.random.Generator:
    """A source of chance for one place in a search, such as (generation, member).

    Raises:
        ConfigError: the seed is negative.
    """
    require(seed >= 0, f"seed must not be negative, got {seed}")
    return np.random.default_rng([seed, *place])
