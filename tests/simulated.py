"""A learner whose true accuracy is known, to hold a way of selecting against the truth.

Every run has a population accuracy (its candidate's truth, a saturating learning curve and seed
noise) and is right on an image when a standard normal falls below the quantile of that accuracy.
The normal has a part that all candidates share (hard images are hard for everybody), a part that
the runs of a candidate share, and a part of the run's own: so the sampling errors of networks
tested on the same images are binomial, and correlated as they are in truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedLearner:
    """Some candidates on one task; accuracies are fractions, time is a fraction of the horizon."""

    truth: Floats
    """Expected accuracy at the horizon over seeds and images, (candidates,)."""
    speed: Floats
    """Rate of each candidate's saturating curve, (candidates,): larger is faster early on."""
    seed_sd: float
    chance: float = 0.1
    common: float = 0.5
    """Share of the latent difficulty of an image that all candidates have in common."""
    own: float = 0.3
    """Share that the runs of one candidate have in common beyond that."""

    def population(self, rng: np.random.Generator, *, seeds: int, times: Sequence[float]) -> Floats:
        """The runs' accuracies over endless images, (candidates, seeds, times).

        Half of the seed variance stays with a run, half is drawn anew at each time.
        """
        shape = (len(self.truth), seeds, len(times))
        lasting = rng.normal(size=(*shape[:2], 1))
        noise = self.seed_sd * np.sqrt(0.5) * (lasting + rng.normal(size=shape))
        rate = self.speed[:, None]
        progress = np.expm1(-rate * np.array(times)) / np.expm1(-rate)  # 1 at the horizon
        mean = self.chance + (self.truth[:, None] - self.chance) * progress
        accuracies: Floats = np.clip(mean[:, None, :] + noise, 1e-6, 1 - 1e-6)
        return accuracies

    def split(self, rng: np.random.Generator, *, num_images: int) -> Floats:
        """Images drawn once for all runs, as their shared difficulty, (candidates, images)."""
        hard = np.sqrt(self.common) * rng.normal(size=num_images)
        shared: Floats = hard + np.sqrt(self.own) * rng.normal(size=(len(self.truth), num_images))
        return shared

    def correct(self, rng: np.random.Generator, accuracies: Floats, split: Floats) -> Flags:
        """Which images each run is right on, (candidates, seeds, times, images)."""
        candidates, seeds, _ = accuracies.shape
        rest = max(1.0 - self.common - self.own, 0.0)
        alone = np.sqrt(rest) * rng.normal(size=(candidates, seeds, split.shape[1]))
        latent = split[:, None, :] + alone
        right: Flags = latent[:, :, None, :] < special.ndtri(accuracies)[..., None]
        return right

    def only(self, chosen: Sequence[int]) -> SimulatedLearner:
        """The learner with these candidates alone."""
        index = list(chosen)
        return replace(self, truth=self.truth[index], speed=self.speed[index])


def candidates(
    rng: np.random.Generator, *, seed_sd: float, count: int = 20, spread: float = 0.03
) -> SimulatedLearner:
    """Candidates around 80 % whose curves cross early.

    The order at a quarter of the horizon has a rank correlation of about 0.6 with the final one.
    """
    truth = np.clip(0.8 + spread * rng.normal(size=count), 0.2, 0.97)
    speed = 4 * np.exp(0.05 * rng.normal(size=count))
    return SimulatedLearner(truth=truth, speed=speed, seed_sd=seed_sd)
