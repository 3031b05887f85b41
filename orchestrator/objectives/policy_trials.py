"""What the trials of a policy search are told, where they do more than train. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.augment.policy import AnyPolicy
from trainer.config import Strict, TrainConfig, require


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldConfig(Strict):
    """A model that judges policies: trained on a part of the training images, without a policy.

    Lim 2019, arXiv:1905.00397, §3.3: a stratified shuffle split for each fold.
    """

    train: TrainConfig
    fold: int
    """From 0; decides which images are held out."""
    held_out: float = 0.4
    """Part of the training images that the policies are scored on."""

    def __post_init__(self) -> None:
        require(self.fold >= 0, f"fold must not be negative, got {self.fold}")
        require(0 < self.held_out < 1, f"held_out must lie between 0 and 1, got {self.held_out}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreConfig(Strict):
    """A policy to be scored by a fold's model on the images that were held out from it."""

    judge: FoldConfig
    judge_key: str
    """The trial that trained the model."""
    policy: AnyPolicy
    draws: int = 5
    """How often each image is augmented; the score is the mean over all."""

    def __post_init__(self) -> None:
        require(self.draws >= 1, f"draws must be at least 1, got {self.draws}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationConfig(Strict):
    """A member of a population in one generation.

    The schedule in `train` is that of the member and its ancestors, and with the seed decides the
    outcome. The parent's weights are what it comes to after the generations before: they save the
    time of training those again, and nothing depends on their being there.
    """

    train: TrainConfig
    begin: int
    """Epochs trained before this generation."""
    end: int
    """Epochs trained after it."""
    parent: str | None = None
    """The trial whose checkpoint is gone on from."""
    retires: str | None = None
    """A trial of two generations before, whose checkpoint nobody needs any more."""

    def __post_init__(self) -> None:
        require(
            0 <= self.begin < self.end <= self.train.epochs,
            f"begin and end must lie in order within {self.train.epochs} epochs, "
            f"got {self.begin} and {self.end}",
        )
