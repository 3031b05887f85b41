"""Carrying a coefficient search out: data, plan, session, result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from orchestrator.config import SearchScalingConfig
from orchestrator.estimates import check_disk
from orchestrator.loading import overlay
from orchestrator.machine import bundle_for
from orchestrator.places import runner_factory
from orchestrator.policies.finding import find_policy
from orchestrator.reporting.live import Watcher
from orchestrator.run_dir import RunDir
from orchestrator.runners.base import Workspace
from orchestrator.session import cache_root, check_run_dir, open_session, run_stage
from orchestrator.stages.reading import read_set
from orchestrator.stages.scaling_plan import STAGE, ScalingPlan
from orchestrator.stages.scaling_result import asked
from orchestrator.stages.scaling_setup import plan_search
from orchestrator.stages.search_scaling import ScalingSearch
from orchestrator.suited import suited
from trainer.complexity import count
from trainer.data.splits import Splits, carve


def dry(config: SearchScalingConfig, *, watcher: Watcher) -> dict[str, Any]:
    """The plan with its cost, from a short measured step time; writes nothing but the cache."""
    from trainer.probe import training_speed

    if config.run_dir is not None:
        check_run_dir(RunDir(Path(config.run_dir)), STAGE)
    plan, splits = plan_for(config, watcher=watcher)
    device = "cuda" if plan.resources[0].gpus else "cpu"
    speed = training_speed(plan.recipe, device=device)
    rate = _epoch_images(splits) / speed / count(plan.start.config).macs
    return {**asked(plan), "plan": plan.cost(rate).to_json()}


def run(config: SearchScalingConfig, *, run_dir: RunDir, watcher: Watcher) -> dict[str, Any]:
    """The search, begun or continued in `run_dir`, to its result."""
    check_run_dir(run_dir, STAGE)
    plan, _ = plan_for(config, watcher=watcher)
    check_disk(run_dir.root, plan.cost(None).disk_bytes)
    workspace = Workspace(
        run_root=run_dir.root,
        cache_root=cache_root(config),
        keep_checkpoints=config.keep_checkpoints,
        skip_unreadable=config.skip_unreadable,
    )
    with open_session(run_dir, command=STAGE, config=config) as session:
        for line in (f"run directory: {config.run_dir or run_dir.root}", *session.notes):
            watcher.say(line)
        return run_stage(
            session,
            ScalingSearch(plan),
            config=config,
            workspace=workspace,
            runner=runner_factory(config, plan.resources[0]),
            watcher=watcher,
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


def _epoch_images(splits: Splits) -> float:
    """Images of an epoch in units of training ones: a forward pass is a third of a step."""
    return len(splits.train) + len(splits.selection) / 3
