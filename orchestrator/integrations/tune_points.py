"""What a point of a foreign search space means: a network of the plan, a seed, and the recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from orchestrator.loading import overlay
from orchestrator.settings import overlaid
from orchestrator.stages.scaling.plan import ScalingPlan
from orchestrator.trial import TrialSpec
from trainer.config import TrainConfig
from trainer.errors import unknown_value

NETWORK, SEED = "network", "seed"

Point: TypeAlias = Mapping[str, Any]
"""`network` by name, `seed`, and dotted paths into the training configuration."""


def spec_at(plan: ScalingPlan, point: Point) -> TrialSpec:
    """The trial that a point stands for; where it says no more, the one that our search would run.

    Raises: ConfigError, UsageError for a point that is none.
    """
    networks, name = plan.by_name, point.get(NETWORK)
    if name not in networks:
        raise unknown_value(NETWORK, name, networks)
    spec = plan.spec(plan.recipe, networks[name], int(point.get(SEED, plan.recipe.seed)))
    more = {path: value for path, value in point.items() if path not in (NETWORK, SEED)}
    if not more:
        return spec
    changes: dict[str, Any] = {}
    for path, value in more.items():
        changes = overlaid(changes, _nested(path, value))
    assert isinstance(spec.config, TrainConfig)
    return plan.trial(overlay(spec.config, changes, "train"), labels={**spec.labels, **more})


def _nested(path: str, value: Any) -> dict[str, Any]:
    *above, last = path.split(".")
    nested = {last: value}
    for step in reversed(above):
        nested = {step: nested}
    return nested
