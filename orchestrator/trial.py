"""The values that travel between searcher, controller, journal and runner."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from trainer.config import RECIPE_VERSION, Strict
from trainer.strict import told

Scalar: TypeAlias = str | int | float | bool | None
Report: TypeAlias = dict[str, Any]
"""What a trial yields, as plain JSON: at least `epoch`, and the objective's metrics."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What one process of a trial needs; a trial has a tuple of these, usually of one."""

    cpus: int = 1
    gpus: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSpec:
    """One piece of work: an objective and everything that decides its outcome."""

    key: str
    stage: str
    objective: str
    """Name in the table of `orchestrator.objectives`."""
    config: Strict
    """The objective's configuration; a `TrainConfig` for `train`."""
    labels: Mapping[str, Scalar] = field(default_factory=dict)
    """For people and trackers (α, β, γ, MACs …); never part of the key."""
    milestones: tuple[int, ...] = ()
    """Epochs at which the trial pauses for a decision; never part of the key."""
    resources: tuple[Bundle, ...] = (Bundle(),)

    def to_json(self) -> dict[str, Any]:
        """The specification as plain JSON values."""
        return {
            "key": self.key,
            "stage": self.stage,
            "objective": self.objective,
            "config": self.config.to_json(),
            "labels": dict(self.labels),
            "milestones": list(self.milestones),
            "resources": [asdict(bundle) for bundle in self.resources],
        }


def trial_key(objective: str, config: Strict, *, fingerprint: str) -> str:
    """The name of a piece of work: the same for the same work in every run and every place.

    `fingerprint` stands for the images and labels; where they lie on disk does not count.
    """
    content = _on_images(told(config.to_json()), fingerprint)
    text = canonical_json([objective, content, fingerprint, RECIPE_VERSION])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _on_images(content: dict[str, Any], fingerprint: str) -> dict[str, Any]:
    """A configuration whose data sets, however deep they stand, are called by what they show."""
    nested = {
        key: _on_images(value, fingerprint) if isinstance(value, dict) else value
        for key, value in content.items()
    }
    data = nested.get("data")
    if isinstance(data, dict):
        nested["data"] = {**data, "dataset": fingerprint}
    return nested


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def plain_report(values: Mapping[str, Any]) -> Report:
    """A report as strict JSON: a number that is not finite becomes null."""
    return {key: _finite(value) for key, value in values.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
