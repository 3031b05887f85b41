"""From what was asked and the data at hand to a `ScalingPlan`; every refusal happens here."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from orchestrator.config.scaling import SearchScalingConfig
from orchestrator.machine import local_workers
from orchestrator.selection.halving import HalvingPlan, default_finalists, plan_rungs
from orchestrator.stages.asking import question
from orchestrator.stages.scaling.plan import Control, Evidence, ScalingPlan
from orchestrator.suited import Suited
from orchestrator.trial import Bundle
from search_spaces.budget import parse_budget, parse_count
from search_spaces.compound_scaling import Baseline
from search_spaces.controls import published_triple, random_candidate, uniform_scaling
from search_spaces.screening import Screening, screen
from trainer.complexity import count
from trainer.config import TrainConfig
from trainer.data.splits import Splits, learning_fingerprint


def plan_search(
    config: SearchScalingConfig,
    *,
    splits: Splits,
    fits: Suited,
    recipe: TrainConfig,
    bundle: Bundle,
) -> ScalingPlan:
    """The plan: `fits` with the user's changes in `recipe`.

    Raises: ConfigError where the options leave nothing to search.
    """
    start = fits.baseline
    target = parse_budget(config.flops_budget, baseline_macs=count(start.config).macs)
    tolerance = Fraction(config.tolerance)
    screening = screen(
        start,
        target=target,
        tolerance=tolerance,
        constraint=config.constraint,
        step=Fraction(config.grid_step),
        maximum=Fraction(config.grid_max),
        max_params=_limit(config.max_params),
    )
    evidence = _evidence(splits, start.num_classes)
    return ScalingPlan(
        question=question(config, evidence.fingerprint),
        constraint={
            "kind": config.constraint,
            "target_ratio": float(target),
            "tolerance": float(tolerance),
        },
        start=start,
        screening=screening,
        recipe=recipe,
        evidence=evidence,
        halving=_halving(config, recipe.epochs, len(screening.candidates)),
        num_seeds=config.seeds or fits.seeds,
        controls=tuple(_controls(config, start, target, screening)),
        recipe_trials=config.tune_recipe,
        resources=(bundle,),
        workers=local_workers(config, bundle),
        keep_checkpoints=config.keep_checkpoints,
    )


def _evidence(splits: Splits, num_classes: int) -> Evidence:
    labels = splits.selection.labels
    most_frequent = int(np.bincount(labels, minlength=num_classes).max())
    return Evidence(
        fingerprint=learning_fingerprint(splits),
        num_images=len(labels),
        chance=most_frequent / len(labels),
    )


def _limit(max_params: str | None) -> int | None:
    return None if max_params is None else parse_count(max_params, path="--max-params")


def _halving(config: SearchScalingConfig, epochs: int, candidates: int) -> HalvingPlan | None:
    """No race among so few that all would be finalists."""
    finalists = min(config.finalists or default_finalists(candidates), candidates)
    if not config.halving or finalists == candidates:
        return None
    return plan_rungs(epochs, candidates, num_finalists=finalists)


def _controls(
    config: SearchScalingConfig, start: Baseline, target: Fraction, screening: Screening
) -> Iterator[Control]:
    if config.controls == "none":
        return
    yield Control(name="published triple", candidate=published_triple(start))
    yield Control(name="uniform scaling", candidate=uniform_scaling(start, target))
    chosen = random_candidate(screening.candidates, config.seed)
    yield Control(name="random candidate", candidate=chosen)
