"""Who goes on training: synchronous successive halving as pure functions of the scores so far.

Every trial keeps the learning-rate schedule of the full horizon; a rung only decides whether it
is trained further (Jamieson & Talwalkar 2016, arXiv:1502.07943). We depart from the paper by
cutting gently and late: short training is biased against deep and large networks, and a good
candidate that is dropped early never comes back.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from trainer.config import Strict, require

Scores = Mapping[str, Mapping[int, float]]
"""Trial key -> epochs finished -> score (an accuracy in [0, 1]); NaN where a trial diverged."""

EARLIEST_RUNG = 0.25
"""Share of the horizon before which no rung may lie."""
STANDARD_ERRORS_ABOVE_CHANCE = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HalvingPlan(Strict):
    """Which epochs are rungs and how many trials pass each; `plan_rungs` makes the usual one."""

    horizon: int
    """Epochs of a full run."""
    num_trials: int
    num_finalists: int
    """How many are chosen at the horizon, to be run again with fresh seeds."""
    rungs: tuple[int, ...] = ()
    """Epochs after which a cut is made, increasing, all below the horizon."""
    keep: tuple[int, ...] = ()
    """How many trials pass each rung."""

    def __post_init__(self) -> None:
        require(self.horizon >= 1, f"halving.horizon must be at least 1, got {self.horizon}")
        require(
            1 <= self.num_finalists <= self.num_trials,
            f"halving.num_finalists must be between 1 and the {self.num_trials} trials, "
            f"got {self.num_finalists}",
        )
        require(
            len(self.keep) == len(self.rungs),
            f"halving.keep needs one number for each of {len(self.rungs)} rungs, got {self.keep}",
        )
        self._check_rungs()
        self._check_keep()

    def _check_rungs(self) -> None:
        steps = (0, *self.rungs, self.horizon)
        require(
            all(earlier < later for earlier, later in pairwise(steps)),
            f"halving.rungs must increase and stay below the horizon {self.horizon}, "
            f"got {self.rungs}",
        )
        require(
            not self.rungs or self.rungs[0] >= EARLIEST_RUNG * self.horizon,
            f"halving.rungs: the first must be at least a quarter of the horizon {self.horizon}, "
            f"got {self.rungs}",
        )

    def _check_keep(self) -> None:
        counts = (self.num_trials, *self.keep, self.num_finalists)
        require(
            all(more >= fewer for more, fewer in pairwise(counts)),
            f"halving.keep must fall from the {self.num_trials} trials to no fewer than the "
            f"{self.num_finalists} finalists, got {self.keep}",
        )
        arriving = (self.num_trials, *self.keep)
        require(
            all(2 * after >= before for before, after in pairwise(arriving)),
            f"halving.keep: no rung may drop more than half of its trials ({self.num_trials} at "
            f"the first), got {self.keep}",
        )

    @property
    def epochs(self) -> int:
        """What all trials cost together if no rung is postponed, without the finalists' re-runs."""
        running = (self.num_trials, *self.keep)
        steps = (0, *self.rungs, self.horizon)
        return sum(n * (b - a) for n, (a, b) in zip(running, pairwise(steps), strict=True))


def default_finalists(num_trials: int) -> int:
    """How many candidates deserve fresh seeds: a fifth, at most the square root, at least 3.

    With five seeds each and the rungs of `plan_rungs` the whole costs at most 35 % of training
    every candidate with five seeds, from 15 candidates on. With 2 the best is lost too often to be
    worth the saving: in simulation the winner's mean shortfall grows by a third over that with 3.
    """
    return min(num_trials, max(3, min(num_trials // 5, math.isqrt(num_trials))))


def plan_rungs(
    horizon: int,
    num_trials: int,
    *,
    num_finalists: int | None = None,
    fractions: Sequence[float] = (0.25, 0.5),
    keep: float = 0.7,
) -> HalvingPlan:
    """A rung after each of the fractions of the horizon, passed by the best `keep` of its trials.

    A rung at which nobody would be dropped is left out. In simulation keeping 70 % twice finds
    better winners than keeping 50 % at the first rung, most of all when depth is slow to learn,
    and costs little more: most epochs go to the finalists.

    Raises: ConfigError for a fraction outside [0.25, 1) or a `keep` outside [0.5, 1].
    """
    require(
        all(EARLIEST_RUNG <= fraction < 1 for fraction in fractions),
        f"halving.fractions must lie in [{EARLIEST_RUNG}, 1), got {tuple(fractions)}",
    )
    require(0.5 <= keep <= 1, f"halving.keep must be between 0.5 and 1, got {keep}")
    finalists = default_finalists(num_trials) if num_finalists is None else num_finalists
    rungs: list[int] = []
    counts: list[int] = []
    left = num_trials
    for epoch in sorted({math.ceil(fraction * horizon) for fraction in fractions}):
        passing = max(math.ceil(round(keep * left, 9)), finalists)  # 0.7 · 20 is 14, not 14.000…02
        if epoch < horizon and passing < left:
            rungs.append(epoch)
            counts.append(passing)
            left = passing
    return HalvingPlan(
        horizon=horizon,
        num_trials=num_trials,
        num_finalists=finalists,
        rungs=tuple(rungs),
        keep=tuple(counts),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RungDecision(Strict):
    """What was decided at a rung, and why."""

    rung: int
    epoch: int
    order: tuple[str, ...]
    """All trials that stood before the rung, best first; the failed ones last."""
    promoted: tuple[str, ...]
    """Those that train on, best first."""
    stopped: tuple[str, ...]
    postponed: bool
    """No ranking was made: only failed trials are stopped, and the next rung is the first."""
    reason: str


def standing(scores: Scores, earlier: Sequence[RungDecision] = ()) -> tuple[str, ...]:
    """The trials that no earlier decision stopped, by key."""
    stopped = {key for decision in earlier for key in decision.stopped}
    return tuple(sorted(set(scores) - stopped))


def waiting_for(
    plan: HalvingPlan,
    scores: Scores,
    rung: int,
    *,
    earlier: Sequence[RungDecision] = (),
    failed: Collection[str] = (),
) -> tuple[str, ...]:
    """The standing trials that neither failed nor reached the rung; decide when none is left."""
    epoch = plan.rungs[rung]
    alive = standing(scores, earlier)
    return tuple(key for key in alive if key not in failed and epoch not in scores[key])


def decide(
    plan: HalvingPlan,
    scores: Scores,
    rung: int,
    *,
    chance: float,
    num_images: int,
    earlier: Sequence[RungDecision] = (),
    failed: Collection[str] = (),
) -> RungDecision:
    """Who passes a rung, from the scores of all trials at its epoch.

    A cut needs scores that mean something: the median trial, near which the cut is made, must lie
    above `chance` by 3 binomial standard errors of the `num_images` it was scored on. Otherwise the
    rung is postponed. Never more than half of the healthy trials are dropped at once, so that the
    rung after a postponed one does not make up for it. Equal scores are ordered by key.

    Raises: ValueError while a standing trial is still on its way to the rung.
    """
    late = waiting_for(plan, scores, rung, earlier=earlier, failed=failed)
    epoch = plan.rungs[rung]
    if late:
        raise ValueError(f"rung {rung} is not complete: {late[0]} has no score at epoch {epoch}")
    alive = standing(scores, earlier)
    lost = [k for k in alive if k in failed or not math.isfinite(scores[k][epoch])]
    healthy = sorted(set(alive) - set(lost), key=lambda k: (-scores[k][epoch], k))
    doubt = _doubt([scores[k][epoch] for k in healthy], chance=chance, num_images=num_images)
    count = len(healthy) if doubt else max(plan.keep[rung], math.ceil(len(healthy) / 2))
    promoted, dropped = healthy[:count], healthy[count:]
    cut = f"kept {len(promoted)} of {len(healthy)} by the score at epoch {epoch}"
    return RungDecision(
        rung=rung,
        epoch=epoch,
        order=(*healthy, *lost),
        promoted=tuple(promoted),
        stopped=(*dropped, *lost),
        postponed=bool(doubt),
        reason=(doubt or cut) + (f"; {len(lost)} failed" if lost else ""),
    )


def _doubt(scores: Sequence[float], *, chance: float, num_images: int) -> str:
    """Why the scores cannot be ranked yet; empty if they can."""
    if not scores:
        return "no trial is left to rank"
    error = math.sqrt(chance * (1 - chance) / num_images)
    needed = chance + STANDARD_ERRORS_ABOVE_CHANCE * error
    middle = median(scores)
    if middle > needed:
        return ""
    return (
        f"postponed: the median score {middle:.3f} is not above chance {chance:.3f} by "
        f"{STANDARD_ERRORS_ABOVE_CHANCE:.0f} standard errors ({needed:.3f})"
    )


def choose_finalists(
    plan: HalvingPlan, scores: Scores, *, failed: Collection[str] = ()
) -> tuple[str, ...]:
    """The best trials at the horizon, best first; fewer than planned if too few got there."""
    arrived = {
        key: curve[plan.horizon]
        for key, curve in scores.items()
        if key not in failed and math.isfinite(curve.get(plan.horizon, math.nan))
    }
    return tuple(sorted(arrived, key=lambda k: (-arrived[k], k))[: plan.num_finalists])
