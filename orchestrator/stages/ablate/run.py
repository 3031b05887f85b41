"""Carrying an ablation out: data, plan, session, result."""

from __future__ import annotations

from typing import Any

from orchestrator.config.ablate import AblateConfig
from orchestrator.machine import bundle_for
from orchestrator.reporting.live import Watcher
from orchestrator.run_dir import RunDir
from orchestrator.session import check_run_dir
from orchestrator.stages.ablate.plan import STAGE, AblatePlan
from orchestrator.stages.ablate.result import asked
from orchestrator.stages.ablate.setup import plan_ablation
from orchestrator.stages.ablate.stage import Ablation
from orchestrator.stages.carrying import carry_out, check_place, seconds_per_mac
from orchestrator.stages.reading import read_set
from orchestrator.weights import Pretrained, find_weights, keep_weights
from trainer.data.splits import Splits


def dry(config: AblateConfig, *, watcher: Watcher) -> dict[str, Any]:
    """The rungs with their cost, and what training them takes; writes nothing but the cache."""
    check_place(config, STAGE)
    plan, splits, _ = plan_for(config, watcher=watcher, only_plan=True)
    # A rung without a teacher: how fast that one answers is not the student's speed.
    timed = min(plan.rungs, key=lambda rung: rung.work).train.with_(distillation=None, mix=None)
    rate = seconds_per_mac(timed, splits, bundle=plan.resources[0])
    document = asked(plan)
    gpus = plan.resources[0].gpus
    for row, rung in zip(document["rungs"], plan.rungs, strict=True):
        hours = plan.hours(rung, rate)
        row |= {"estimated_hours": hours, "estimated_gpu_hours": hours * gpus if gpus else None}
    return {**document, "plan": plan.cost(rate).to_json()}


def run(config: AblateConfig, *, run_dir: RunDir, watcher: Watcher) -> dict[str, Any]:
    """The ablation, begun or continued in `run_dir`, to its result."""
    check_run_dir(run_dir, STAGE)
    plan, _, teacher = plan_for(config, watcher=watcher)
    return carry_out(
        Ablation(plan),
        config,
        run_dir=run_dir,
        bundle=plan.resources[0],
        watcher=watcher,
        begin=lambda: keep_weights(teacher, run_dir) if teacher else None,
    )


def plan_for(
    config: AblateConfig, *, watcher: Watcher, only_plan: bool = False
) -> tuple[AblatePlan, Splits, Pretrained | None]:
    """Read the data set and work the plan out. Raises: ConfigError, DatasetError, UsageError."""
    teacher = (
        find_weights(config.teacher, option="--teacher", download=config.download)
        if config.teacher
        else None
    )
    dataset, decoded = read_set(config, watcher=watcher)
    plan, splits = plan_ablation(
        config,
        dataset=dataset,
        decoded=decoded,
        bundle=bundle_for(config),
        teacher=teacher,
        only_plan=only_plan,
    )
    for warning in plan.warnings:
        watcher.say(f"note: {warning}")
    return plan, splits, teacher
