"""What the trials of a resolution adaptation are told. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainer.config import Strict, TrainConfig, require
from trainer.fixres.config import FixResConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin(Strict):
    """Where a trained network's weights are from: one of the two."""

    weights: str | None = None
    """Digest of the tensors that were given; they lie in the run's directory under it."""
    trial: str | None = None
    """Key of the trial that trained it in this run."""

    def __post_init__(self) -> None:
        require(
            (self.weights is None) != (self.trial is None),
            "origin: either weights or the trial that trained them",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepConfig(Strict):
    """A network to be evaluated at several test resolutions."""

    source: TrainConfig
    """How it was trained."""
    origin: Origin
    resolutions: tuple[int, ...]
    crop_fraction: float
    evaluate_on: Literal["selection", "reporting"] = "selection"
    adapted: FixResConfig | None = None
    """What was done to it since; None for nothing."""
    adapted_by: str | None = None
    """Key of the trial that did it."""

    def __post_init__(self) -> None:
        require(bool(self.resolutions), "resolutions: at least one is needed")
        require(
            (self.adapted is None) == (self.adapted_by is None),
            "adapted: an adaptation and the trial that made it belong together",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptConfig(Strict):
    """A network to be adapted to one test resolution, judged on the selection split."""

    adaptation: FixResConfig
    origin: Origin
