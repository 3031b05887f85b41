"""How far two runs are right on the same images: what of the sampling error they share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from trainer.config import Strict


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement(Strict):
    """How far two runs are right on the same images: the correlation of their correctness.

    The defaults suit those who have only accuracies: they make no interval too narrow as long as
    networks find the same images hard. With the answers at hand, `measure_agreement` narrows them.
    """

    within: float = 1.0
    """Between seeds of a candidate. 1: they share all sampling error, so more seeds do not help."""
    between: float = 0.0
    """Between candidates. 0: no sampling error cancels in a difference."""

    def __post_init__(self) -> None:
        if not 0 <= self.between <= self.within <= 1:
            raise ValueError(f"agreement must satisfy 0 <= between <= within <= 1, got {self}")


UNKNOWN = Agreement()


def measure_agreement(correct: Mapping[str, NDArray[np.bool_]]) -> Agreement:
    """Agreement from which images each run was right on, candidate -> (seeds, images).

    Cautious where candidates differ: the largest within, the smallest between. What cannot be
    measured (one seed, one candidate, no mistakes) keeps its default.
    """
    varied = [runs.astype(np.float64) for runs in correct.values() if 0 < runs.mean() < 1]
    within = max((_agreement_within(runs) for runs in varied if len(runs) > 1), default=1.0)
    between = min((_agreement_between(a, b) for a, b in combinations(varied, 2)), default=0.0)
    within = min(max(within, 0.0), 1.0)
    return Agreement(within=within, between=min(max(between, 0.0), within))


def _agreement_within(runs: NDArray[np.float64]) -> float:
    one = float(runs.var(axis=1).mean())
    mean_of_all = float(runs.mean(axis=0).var())  # = one/n + (n - 1)/n · shared
    shared = (len(runs) * mean_of_all - one) / (len(runs) - 1)
    return shared / one


def _agreement_between(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    shared = float(np.cov(a.mean(axis=0), b.mean(axis=0), ddof=0)[0, 1])
    return shared / math.sqrt(float(a.var(axis=1).mean() * b.var(axis=1).mean()))
