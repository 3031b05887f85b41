"""Fast AutoAugment: TPE over policies that are scored without training.

Lim 2019, arXiv:1905.00397, §3. Each fold trains one model without a policy; a policy's score is how
well that model does on held-out images augmented by it. The folds search apart, and the best
policies of all are put together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.errors import StageFailed
from orchestrator.searchers.chance import generator
from orchestrator.searchers.observation import Observation, best
from orchestrator.searchers.tpe import Axis, Categorical, Uniform, suggest
from search_spaces.augmentation import UNPAIRED_OPS, ContinuousSpace, Point, union
from trainer.augment.policy import Policy
from trainer.config import Strict, require


@dataclass(frozen=True, slots=True, kw_only=True)
class FastAutoAugmentSettings(Strict):
    """How the folds are searched."""

    batch: int = 4
    """Policies proposed together; fixed, so that they do not depend on the number of workers."""
    keep: int = 10
    """Best policies of each fold that go into the result."""

    def __post_init__(self) -> None:
        for name in ("batch", "keep"):
            value = getattr(self, name)
            require(value >= 1, f"fast-autoaugment: {name} must be at least 1, got {value}")


def propose(
    observed: Sequence[Observation[Point]],
    *,
    count: int,
    seed: int,
    fold: int,
    space: ContinuousSpace,
    settings: FastAutoAugmentSettings,
) -> tuple[Point, ...]:
    """The next points of one fold: at most `count`, and no more than its current batch still lacks.

    Args:
        observed: The fold's policies that were scored or failed, in the order of their proposal.
        count: How many can be used at once.
        seed: Of the whole search.
        fold: Number of the fold; each has its own chance.
        space: Where to search.
        settings: Size of a batch.

    Raises:
        ConfigError: an observation does not lie in the space.
    """
    for seen in observed:
        space.check(seen.decisions)
    batch, done = divmod(len(observed), settings.batch)
    points = suggest(
        axes(space),
        tuple(
            (seen.decisions, seen.reward)
            for seen in observed[: batch * settings.batch]
            if seen.reward is not None
        ),
        count=settings.batch,
        seed=int(generator(seed, fold, batch).integers(2**31)),
    )
    return points[done : done + count]


def chosen(
    folds: Sequence[Sequence[Observation[Point]]],
    *,
    space: ContinuousSpace,
    settings: FastAutoAugmentSettings,
) -> Policy:
    """The best policies of every fold in one, sub-policies with the same operations only once.

    Raises:
        StageFailed: a fold has no scored policy.
    """
    policies = []
    for number, observed in enumerate(folds):
        kept = best(observed, settings.keep)
        if not kept:
            raise StageFailed(
                f"fast-autoaugment: none of {len(observed)} policies of fold {number} has a score"
            )
        policies += [space.policy(seen.decisions, name="fast-autoaugment") for seen in kept]
    return union(policies, name="fast-autoaugment")


def axes(space: ContinuousSpace) -> tuple[Axis, ...]:
    """The space's coordinates as TPE's axes."""
    return tuple(
        axis
        for number in range(space.num_operations)
        for axis in (
            Categorical(f"op {number}", len(UNPAIRED_OPS)),
            Uniform(f"probability {number}", 0, 1),
            Uniform(f"strength {number}", 0, 1),
        )
    )
