"""A learning rate and weight decay for the baseline, found before the grid is searched.

An unfair recipe would bias the search against the networks that are hardest to train, deep ones
first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from orchestrator.history import History, Status
from orchestrator.searchers.tpe import LogUniform, Point, suggest
from orchestrator.stages.scaling_plan import ScalingPlan
from orchestrator.trial import Scalar, TrialSpec
from trainer.config import TrainConfig

BATCH = 4
"""Trials proposed together; fixed, so that proposals do not depend on the number of workers."""


def propose_recipes(plan: ScalingPlan, history: History) -> Sequence[TrialSpec]:
    """The trials of the first batch that has not ended."""
    for batch in _batches(plan, history):
        waiting = [spec for spec in batch if not _ended(history, spec)]
        if waiting:
            return waiting
    return ()


def tuned(plan: ScalingPlan, history: History) -> TrainConfig | None:
    """The best recipe once all have been tried, the default one among them; None before."""
    best, best_score = plan.recipe, -1.0
    for batch in _batches(plan, history):
        if not all(_ended(history, spec) for spec in batch):
            return None
        for spec in batch:
            score = _score(history, spec)
            if score > best_score:
                assert isinstance(spec.config, TrainConfig)
                best, best_score = spec.config, score
    return best.with_(model=plan.recipe.model)


def _batches(plan: ScalingPlan, history: History) -> Iterator[list[TrialSpec]]:
    """The batches in order, each from the scores of those before it, up to the first open one."""
    space = _space(plan.recipe)
    default: Point = (plan.recipe.optim.lr, plan.recipe.optim.weight_decay)
    observed: list[tuple[Point, float]] = []
    for start in range(0, plan.recipe_trials, BATCH):
        count = min(BATCH, plan.recipe_trials - start)
        given = [default] if start == 0 else []
        points = [
            *given,
            *suggest(space, tuple(observed), count=count - len(given), seed=plan.recipe.seed),
        ]
        batch = [_spec(plan, point) for point in points]
        yield batch
        if not all(_ended(history, spec) for spec in batch):
            return
        observed += [
            (point, _score(history, spec)) for point, spec in zip(points, batch, strict=True)
        ]


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


def _ended(history: History, spec: TrialSpec) -> bool:
    trial = history.get(spec.key)
    return trial is not None and trial.status.ended


def _score(history: History, spec: TrialSpec) -> float:
    """The final accuracy; a trial that failed or diverged scores nothing."""
    trial = history[spec.key]
    value = trial.metric("top1") if trial.status is Status.COMPLETE else None
    return 0.0 if value is None else value
