"""Carrying a resolution adaptation out: networks, data, plan, session, result."""

from __future__ import annotations

from typing import Any

from orchestrator.config.fixres import FixResStageConfig
from orchestrator.errors import UsageError
from orchestrator.machine import bundle_for
from orchestrator.reporting.live import Watcher
from orchestrator.run_dir import RunDir
from orchestrator.session import check_run_dir
from orchestrator.stages.carrying import carry_out, check_place
from orchestrator.stages.fixres.geometry import explained
from orchestrator.stages.fixres.models import keep_models, keep_sources
from orchestrator.stages.fixres.plan import STAGE, FixResPlan
from orchestrator.stages.fixres.result import asked
from orchestrator.stages.fixres.setup import dataset_of, plan_fixres
from orchestrator.stages.fixres.source import Found, find_networks
from orchestrator.stages.fixres.stage import ResolutionAdaptation
from orchestrator.stages.reading import read_set
from trainer.complexity import count
from trainer.data.splits import Splits


def explain(config: FixResStageConfig, *, watcher: Watcher) -> dict[str, Any]:
    """How large objects look at each resolution; nothing is trained, or written but the cache."""
    plan, splits = plan_for(*with_networks(config), watcher=watcher)
    return {
        **asked(plan),
        "geometry": [explained(network, splits) for network in plan.networks],
    }


def dry(config: FixResStageConfig, *, watcher: Watcher) -> dict[str, Any]:
    """The plan with its cost, from a short measured speed; writes nothing but the cache."""
    check_place(config, STAGE)
    plan, _ = plan_for(*with_networks(config), watcher=watcher)
    return {**asked(plan), "plan": plan.cost(_seconds_per_mac(plan)).to_json()}


def run(config: FixResStageConfig, *, run_dir: RunDir, watcher: Watcher) -> dict[str, Any]:
    """The adaptation, begun or continued in `run_dir`, to its result and its models."""
    check_run_dir(run_dir, STAGE)
    config, found = with_networks(config)
    plan, _ = plan_for(config, found, watcher=watcher)
    return carry_out(
        ResolutionAdaptation(plan),
        config,
        run_dir=run_dir,
        bundle=plan.resources[0],
        watcher=watcher,
        begin=lambda: keep_sources(found, run_dir),
        keep=lambda document: keep_models(plan, document, run_dir),
    )


def with_networks(config: FixResStageConfig) -> tuple[FixResStageConfig, Found]:
    """The networks, and the configuration with their data set where it names none."""
    found = find_networks(config)
    return config.with_(dataset=dataset_of(config, found)), found


def plan_for(
    config: FixResStageConfig, found: Found, *, watcher: Watcher
) -> tuple[FixResPlan, Splits]:
    """Read the data set and work the plan out. Raises: ConfigError, DatasetError, UsageError."""
    dataset, decoded = read_set(config, watcher=watcher)
    plan, splits = plan_fixres(
        config, found=found, dataset=dataset, decoded=decoded, bundle=bundle_for(config)
    )
    if not plan.networks:
        raise UsageError("fixres: no network is left to adapt")
    for warning in plan.warnings:
        watcher.say(f"note: {warning}")
    return plan, splits


def _seconds_per_mac(plan: FixResPlan) -> float:
    """Of a forward pass, a third of a training step, through the first network."""
    from trainer.probe import training_speed  # loads torch, for dry runs alone

    train = plan.networks[0].runs[0].train
    speed = training_speed(train, device="cuda" if plan.resources[0].gpus else "cpu")
    return 1 / (3 * speed * count(train.model).macs)
