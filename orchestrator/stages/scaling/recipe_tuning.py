"""A learning rate and weight decay for the baseline, found before the grid is searched.

An unfair recipe would bias the search against the networks that are hardest to train, deep ones
first.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.history import History
from orchestrator.searchers.tpe import LogUniform, Point, suggest
from orchestrator.searchers.walk import Batch, Walk
from orchestrator.stages.scaling.plan import ScalingPlan
from orchestrator.trial import Scalar, TrialSpec
from trainer.config import TrainConfig

BATCH = 4
"""Trials proposed together; fixed, so that proposals do not depend on the number of workers."""


def recipe_walk(plan: ScalingPlan) -> Walk[Point]:
    """The default recipe and those that TPE makes of its neighbourhood, a batch at a time."""
    space = _space(plan.recipe)
    default: Point = (plan.recipe.optim.lr, plan.recipe.optim.weight_decay)

    def advance(done: tuple[Batch[Point], ...]) -> Sequence[Point]:
        tried = [
            (point, reward or 0.0)  # a trial that failed or diverged scores nothing
            for batch in done
            for point, reward in zip(batch.proposals, batch.rewards, strict=True)
        ]
        given = () if done else (default,)
        count = min(BATCH, plan.recipe_trials - len(tried)) - len(given)
        if count + len(given) <= 0:
            return ()
        return *given, *suggest(space, tuple(tried), count=count, seed=plan.recipe.seed)

    return Walk(advance, lambda point: _spec(plan, point))


def tuned(walk: Walk[Point], history: History, *, default: TrainConfig) -> TrainConfig | None:
    """The best recipe once all have been tried, the default one among them; None before."""
    path = walk.follow(history)
    if path.waiting:
        return None
    best, best_score = default, -1.0
    for batch in path.done:
        for spec, reward in zip(batch.specs, batch.rewards, strict=True):
            if (reward or 0.0) > best_score:
                assert isinstance(spec.config, TrainConfig)
                best, best_score = spec.config, reward or 0.0
    return best


def _space(recipe: TrainConfig) -> tuple[LogUniform, ...]:
    """A factor of ten to either side of the default; the default decay may be none."""
    decay = recipe.optim.weight_decay or 1e-5
    return (
        LogUniform("lr", recipe.optim.lr / 10, recipe.optim.lr * 10),
        LogUniform("weight_decay", decay / 10, decay * 10),
    )


def _spec(plan: ScalingPlan, point: Point) -> TrialSpec:
    lr, decay = point
    optim = plan.recipe.optim.with_(lr=lr, weight_decay=decay)
    labels: dict[str, Scalar] = {
        "name": f"recipe lr={lr:.3g} decay={decay:.3g}",
        "lr": lr,
        "weight_decay": decay,
        "seed": plan.recipe.seed,
    }
    return plan.trial(plan.recipe.with_(optim=optim), labels=labels)
