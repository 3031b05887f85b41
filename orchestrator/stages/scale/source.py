"""The search whose winner is scaled: coefficients, baseline and data set out of its run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.config.scale import ScaleConfig
from orchestrator.stages.finished import damaged, finished
from orchestrator.stages.scaling.plan import STAGE as SEARCH
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
    description, result = finished(run_dir, SEARCH, option="--from")
    try:
        return _source(description["config"], result)
    except (KeyError, TypeError, ValueError):
        raise damaged(run_dir, SEARCH, option="--from") from None


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
