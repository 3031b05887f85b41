"""Whether the order of the trials was still moving when a rung cut it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from orchestrator.selection.halving import HalvingPlan, Scores
from trainer.config import Strict


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement(Strict):
    """How far the order of the trials that were still running changed from one rung to the next."""

    from_epoch: int
    to_epoch: int
    num_trials: int
    correlation: float | None
    """Kendall's τ-b; survivors only, so lower than over all trials. None where it means nothing."""
    word: str
    """`settled`, `still moving`, `no order yet` or `too few to tell`."""


def order_movement(plan: HalvingPlan, scores: Scores) -> tuple[Movement, ...]:
    """The movement between all neighbouring rungs, the horizon being the last (Kendall 1938).

    Settled: at most a tenth of the pairs changed places (τ ≥ 0.8). No order yet: over a third did.
    """
    steps = (*plan.rungs, plan.horizon)
    return tuple(_movement(a, b, scores) for a, b in pairwise(steps))


def _movement(from_epoch: int, to_epoch: int, scores: Scores) -> Movement:
    pairs = np.array(
        [
            (curve[from_epoch], curve[to_epoch])
            for curve in scores.values()
            if from_epoch in curve and to_epoch in curve
        ]
    ).reshape(-1, 2)
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    correlation = _kendall(pairs)
    return Movement(
        from_epoch=from_epoch,
        to_epoch=to_epoch,
        num_trials=len(pairs),
        correlation=correlation,
        word=_word(correlation),
    )


def _kendall(pairs: NDArray[np.float64]) -> float | None:
    if len(pairs) < 4:  # τ of three trials can only be ±1 or ±1/3
        return None
    from scipy import stats  # takes a second, which no start should wait for

    tau = float(stats.kendalltau(pairs[:, 0], pairs[:, 1]).statistic)
    return round(tau, 9) if math.isfinite(tau) else None  # 0.8 is 0.79…9 else


def _word(correlation: float | None) -> str:
    if correlation is None:
        return "too few to tell"
    if correlation >= 0.8:
        return "settled"
    return "still moving" if correlation >= 1 / 3 else "no order yet"
