"""The models that a run has left, as its results list them. Loads no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.run_dir import RunDir


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """An entry of `models` in a stage's result."""

    stage: str
    name: str
    """Such as `B1`."""
    folder: Path
    """Below the run's directory."""
    register: str | None
    """The name under which it enters a registry of models; None for none."""


def models_of_run(run_dir: RunDir) -> list[ListedModel]:
    """The models of all stages that have come to a result."""
    stages = sorted(path.parent.name for path in run_dir.root.glob("*/result.json"))
    return [model for stage in stages for model in models_of_stage(run_dir, stage)]


def models_of_stage(run_dir: RunDir, stage: str) -> list[ListedModel]:
    """The models of one stage; none where it has no result that can be read."""
    try:
        document = json.loads(run_dir.result(stage).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    entries = document.get("models") if isinstance(document, Mapping) else None
    found = [_listed(run_dir, stage, entry) for entry in entries or ()]
    return [model for model in found if model is not None]


def _listed(run_dir: RunDir, stage: str, entry: Any) -> ListedModel | None:
    match entry:
        case {"name": str(name), "path": str(path)}:
            folder = run_dir.root / path
        case _:
            return None
    if not folder.resolve().is_relative_to(run_dir.root.resolve()):
        return None  # a result from elsewhere names no other files of this machine
    return ListedModel(stage=stage, name=name, folder=folder, register=entry.get("register"))
