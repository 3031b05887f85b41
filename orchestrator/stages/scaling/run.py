"""Carrying a coefficient search out: data, plan, session, result."""

from __future__ import annotations

from typing import Any

from orchestrator.config.scaling import SearchScalingConfig
from orchestrator.loading import overlay
from orchestrator.machine import bundle_for
from orchestrator.policies.finding import find_policy
from orchestrator.reporting.live import Watcher
from orchestrator.run_dir import RunDir
from orchestrator.session import check_run_dir
from orchestrator.stages.carrying import carry_out, check_place, seconds_per_mac
from orchestrator.stages.reading import read_set
from orchestrator.stages.scaling.plan import STAGE, ScalingPlan
from orchestrator.stages.scaling.result import asked
from orchestrator.stages.scaling.setup import plan_search
from orchestrator.stages.scaling.stage import ScalingSearch
from orchestrator.suited import suited
from trainer.data.splits import Splits, carve


def dry(config: SearchScalingConfig, *, watcher: Watcher) -> dict[str, Any]:
    """The plan with its cost, from a short measured step time; writes nothing but the cache."""
    check_place(config, STAGE)
    plan, splits = plan_for(config, watcher=watcher)
    rate = seconds_per_mac(plan.recipe, splits, bundle=plan.resources[0])
    return {**asked(plan), "plan": plan.cost(rate).to_json()}


def run(config: SearchScalingConfig, *, run_dir: RunDir, watcher: Watcher) -> dict[str, Any]:
    """The search, begun or continued in `run_dir`, to its result."""
    check_run_dir(run_dir, STAGE)
    plan, _ = plan_for(config, watcher=watcher)
    return carry_out(
        ScalingSearch(plan), config, run_dir=run_dir, bundle=plan.resources[0], watcher=watcher
    )


def plan_for(config: SearchScalingConfig, *, watcher: Watcher) -> tuple[ScalingPlan, Splits]:
    """Read the data set and work the plan out. Raises: ConfigError, DatasetError, UsageError."""
    dataset, decoded = read_set(config, watcher=watcher)
    bundle = bundle_for(config)
    fits = suited(
        dataset,
        decoded,
        device="cuda" if bundle.gpus else "cpu",
        num_classes=config.classes,
        baseline=config.baseline,
        width=config.baseline_width,
        resolution=config.resolution,
    )
    recipe = fits.recipe.with_(seed=config.seed, epochs=config.epochs or fits.recipe.epochs)
    if config.policy:
        policy = find_policy(config.policy, side=recipe.model.resolution)
        recipe = recipe.with_(augment=recipe.augment.with_(policy=policy))
    recipe = overlay(recipe, config.train, "train")
    splits = carve(decoded, recipe.data)
    plan = plan_search(config, splits=splits, fits=fits, recipe=recipe, bundle=bundle)
    for warning in plan.screening.warnings:
        watcher.say(f"note: {warning}")
    return plan, splits
