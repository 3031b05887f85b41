"""The search whose winner is scaled: coefficients, baseline and data set out of its run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orchestrator.config import ScaleConfig
from orchestrator.errors import UsageError
from orchestrator.run_dir import RunDir
from orchestrator.stages.scaling_plan import STAGE as SEARCH
from search_spaces.compound_scaling import ScalingCoefficients


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a finished search for α, β, γ hands on."""

    coefficients: ScalingCoefficients
    baseline: str
    width: float
    resolution: int
    dataset: str
    classes: int | None
    """As the search was asked; None is the data set's."""
    last_seed: int
    """The largest that the search has used."""

    def to_json(self) -> dict[str, Any]:
        """For the record."""
        return {**asdict(self), "coefficients": self.coefficients.to_json()}


def read_source(run_dir: str) -> Source:
    """The winner of the search in that directory. Raises: UsageError."""
    run = RunDir(Path(run_dir))
    where = f"--from: {run_dir}"
    description = _read(run.description)
    if description is None:
        raise UsageError(f"{where} is no run directory (no run.json); name a run of {SEARCH}")
    command = description.get("command")
    if command != SEARCH:
        raise UsageError(f"{where} belongs to '{command}'; name a run of {SEARCH}")
    result = _read(run.result(SEARCH))
    if result is None:
        raise UsageError(
            f"{where} has no result yet; finish it with: orchestrator {SEARCH} --run-dir {run_dir}"
        )
    try:
        return _source(description["config"], result)
    except (KeyError, TypeError, ValueError):
        raise UsageError(
            f"{where} has a damaged result; write it anew with: "
            f"orchestrator {SEARCH} --run-dir {run_dir}"
        ) from None


def _source(asked: dict[str, Any], result: dict[str, Any]) -> Source:
    winner, start = result["winner"], result["baseline"]
    seeds = [seed for row in (*result["results"], *result["controls"]) for seed in row["seeds"]]
    return Source(
        coefficients=ScalingCoefficients.of(winner["alpha"], winner["beta"], winner["gamma"]),
        baseline=start["name"],
        width=start["width"],
        resolution=start["resolution"],
        dataset=asked["dataset"],
        classes=asked.get("classes"),
        last_seed=max(seeds),
    )


def with_source(config: ScaleConfig, source: Source) -> ScaleConfig:
    """The configuration with the search's data set and classes, where it names none itself."""
    usual = ScaleConfig()
    return config.with_(
        dataset=source.dataset if config.dataset == usual.dataset else config.dataset,
        classes=source.classes if config.classes is None else config.classes,
    )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None
