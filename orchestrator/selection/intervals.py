"""What is known of an accuracy after a few seeds on a finite split: means, intervals, differences.

Truth is the accuracy expected over seeds and over the population the images were drawn from. So two
errors meet: the seeds' (it shrinks with their number) and the split's (shared by all runs that are
tested on the same images, it does not). With n seeds on N images

    var(mean) = s²/n + within · p(1 - p)/N,

s being the standard deviation between seeds, pooled over the candidates, since the few seeds of one
say little about it, and `within` how far two seeds of a candidate are right on the same images.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from orchestrator.selection.agreement import UNKNOWN, Agreement
from trainer.config import Strict

Runs = Mapping[int, float]
"""Seed -> accuracy, a fraction in [0, 1]. Runs of two candidates that share a seed are a pair."""

CONFIDENCE = 0.95
METHOD = "seeds: pooled t; images: Wilson; squares of the limits added (MOVER)"
ONE_SEED = "one seed: sampling error only"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedNoise:
    """An estimated variance between seeds and the degrees of freedom behind it."""

    variance: float
    df: int
    """0: every candidate was run once, and the variance is unknown."""


def pooled_noise(runs: Mapping[str, Runs]) -> SeedNoise:
    """Variance between a candidate's seeds, pooled over candidates: Σ(n - 1) degrees of freedom."""
    values = [np.array(list(by_seed.values())) for by_seed in runs.values()]
    squares = sum(float(((of - of.mean()) ** 2).sum()) for of in values)
    df = sum(len(of) - 1 for of in values)
    return SeedNoise(variance=squares / df if df else 0.0, df=df)


def paired_noise(runs: Mapping[str, Runs]) -> SeedNoise:
    """Variance that is left when candidates and seeds each have their own mean.

    What a seed does to all candidates alike (the same order of images, say) cancels in their
    differences. With every seed run for every candidate there are (candidates - 1)(seeds - 1)
    degrees of freedom; missing runs are allowed for by least squares.
    """
    seeds = sorted({seed for by_seed in runs.values() for seed in by_seed})
    cells = [(c, seeds.index(s), v) for c, by in enumerate(runs.values()) for s, v in by.items()]
    design = np.zeros((len(cells), len(runs) + len(seeds)))
    for row, (candidate, seed, _) in enumerate(cells):
        design[row, candidate] = design[row, len(runs) + seed] = 1
    values = np.array([value for *_, value in cells])
    fitted, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    df = len(cells) - int(rank)
    squares = float(((values - design @ fitted) ** 2).sum())
    return SeedNoise(variance=squares / df if df else 0.0, df=df)


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinedError:
    """The variance of a mean or a difference from its two sources."""

    seeds: float
    df: int
    """Degrees of freedom behind `seeds`."""
    sampling: float
    """Taken as known."""

    @property
    def size(self) -> float:
        """Standard error."""
        return math.sqrt(self.seeds + self.sampling)

    @property
    def degrees(self) -> float:
        """Degrees of freedom of the sum (Satterthwaite 1946, Welch 1947)."""
        if self.seeds <= 0:
            return math.inf
        whole = 1 + self.sampling / self.seeds
        return whole * whole * self.df  # a product may become infinite where a power raises

    @property
    def quantile(self) -> float:
        """Student's t that leaves 2.5 % on either side."""
        return float(special.stdtrit(self.degrees, (1 + CONFIDENCE) / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate(Strict):
    """A candidate's accuracy: the mean over seeds and what is known of the truth behind it."""

    key: str
    mean: float
    interval: tuple[float, float]
    """95 % limits, within [0, 1]."""
    num_seeds: int
    sd: float | None
    """Between seeds, pooled over the candidates; None where each was run once."""
    method: str


def check_runs(runs: Mapping[str, Runs]) -> None:
    """Raise ValueError for a candidate without runs or a value that is no accuracy, such as NaN."""
    for key, by_seed in runs.items():
        if not by_seed:
            raise ValueError(f"{key} has no finished run")
        for seed, value in by_seed.items():
            if not 0 <= value <= 1:
                raise ValueError(f"{key}, seed {seed}: {value} is not an accuracy in [0, 1]")


def mean_of(values: Collection[float]) -> float:
    """Mean that does not depend on the order of the runs."""
    return math.fsum(values) / len(values)


def summarise(
    runs: Mapping[str, Runs], *, num_images: int, agreement: Agreement = UNKNOWN
) -> tuple[Estimate, ...]:
    """An estimate for each candidate, in the order given.

    The seeds must have taken no part in the selection. The two errors are joined by the squares of
    their limits (Zou & Donner 2008, MOVER): Student's for the seeds, Wilson's for the images,
    which keep their coverage near 1, both at the quantile of the summed error. The pooled standard
    deviation takes the candidates to be about equally noisy.

    Raises: ValueError for a candidate without runs or an accuracy outside [0, 1] (NaN among them).
    """
    check_runs(runs)
    noise = pooled_noise(runs)
    within = agreement.within if noise.df else 1.0  # a single run has the sampling error to itself
    effective_images = num_images / max(within, 1e-9)  # 0: nothing shared, no such error
    return tuple(
        Estimate(
            key=key,
            mean=mean_of(by_seed.values()),
            interval=_limits(mean_of(by_seed.values()), len(by_seed), noise, effective_images),
            num_seeds=len(by_seed),
            sd=math.sqrt(noise.variance) if noise.df else None,
            method=METHOD if noise.df else ONE_SEED,
        )
        for key, by_seed in runs.items()
    )


def _limits(
    mean: float, num_seeds: int, noise: SeedNoise, effective_images: float
) -> tuple[float, float]:
    error = CombinedError(
        seeds=noise.variance / num_seeds,
        df=noise.df,
        sampling=sampling_variance(mean, effective_images),
    )
    low, high = _wilson(mean, effective_images, error.quantile)
    reach = error.quantile * math.sqrt(error.seeds)
    below, above = math.hypot(mean - low, reach), math.hypot(high - mean, reach)
    return max(mean - below, 0.0), min(mean + above, 1.0)


def _wilson(mean: float, images: float, z: float) -> tuple[float, float]:
    """Limits of a proportion at z standard errors (Wilson 1927)."""
    centre = (mean + z * z / (2 * images)) / (1 + z * z / images)
    spread = z * math.sqrt(mean * (1 - mean) / images + (z / (2 * images)) ** 2)
    half = spread / (1 + z * z / images)
    return min(centre - half, mean), max(centre + half, mean)  # rounding must not cross the mean


def sampling_variance(mean: float, images: float) -> float:
    """p(1 - p)/N with two right and two wrong answers added (Agresti & Coull 1998).

    So that a split without a mistake is not taken for one without error.
    """
    near = (mean * images + 2) / (images + 4)
    return near * (1 - near) / images


def scored(estimate: Estimate | None, values: Mapping[int, float]) -> dict[str, Any]:
    """A row's accuracy: mean, interval and its method, and the values by seed behind them."""
    return {
        "mean": estimate.mean if estimate else None,
        "interval": list(estimate.interval) if estimate else None,
        "method": estimate.method if estimate else None,
        "seeds": list(values),
        "values": list(values.values()),
    }
