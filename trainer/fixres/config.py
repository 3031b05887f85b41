"""All that one adaptation to a test resolution can be told. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainer.config import Strict, TrainConfig, require
from trainer.preprocessing import Preprocessing, preprocessing

REFERENCE_BATCH = 512
"""The batch for which the published learning rates are stated, before their factor of 8."""


def require_resolution(resolution: int, *, total_stride: int) -> None:
    """Raise: ConfigError for a resolution of which no pixel would reach the pool."""
    require(
        resolution >= total_stride,
        f"test_resolution: {resolution} px is below the network's total stride {total_stride}; "
        f"use at least {total_stride}",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FixResConfig(Strict):
    """One adaptation, complete: with the source's weights and data it gives one model.

    Learning rate, epochs and what follows them are read by `finetune` alone.
    """

    source: TrainConfig
    """The run that trained the model."""
    test_resolution: int
    """Side of the square test image, in pixels."""
    crop_fraction: float = 0.875
    """Side of the test crop as a part of the resized shorter side; the one that the source was
    evaluated with, or two effects are mixed."""
    evaluate_on: Literal["selection", "reporting"] = "selection"
    adaptation: Literal["none", "parametric", "statistics", "finetune"] = "finetune"
    """`parametric`: an affine map after the pool, fitted without labels. `statistics`: the batch
    norm before the pool re-estimated. `finetune`: that batch norm and the classifier trained."""
    epochs: int = 30
    lr: float = 1e-3
    """As the released settings state it; see `effective_lr`."""
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 1e-4
    """Of everything tuned, biases included."""
    step_epochs: int = 30
    """Epochs between drops of the learning rate by a factor of 10."""
    augmentation: Literal["v1", "v2"] = "v1"
    """What is varied about the test-style training image. `v1`: nothing but mirroring. `v2`: the
    colours too, and where between left and right the crop lies."""
    flip: bool = True
    """Mirror left to right with probability one half; wrong for digits and letters. The released
    v1 does not, the released v2 does."""
    affine: bool = False
    """Train γ and β of the batch norm too; the released code trains neither, only its running
    statistics move."""
    label_smoothing: float = 0.0
    """0.1 suits EfficientNets (Touvron 2020, arXiv:2003.08237)."""
    cache_bytes: int = 2**32
    """Features of the frozen part are kept in half precision if they take no more than this; part
    of the configuration because rounding moves the last digits of every result."""
    seed: int = 0

    def __post_init__(self) -> None:
        require_resolution(self.test_resolution, total_stride=self.source.model.total_stride)
        require(
            0 < self.crop_fraction <= 1,
            f"crop_fraction must be within (0, 1], got {self.crop_fraction}",
        )
        require(self.epochs >= 1, f"epochs must be at least 1, got {self.epochs}")
        require(self.lr > 0, f"lr must be positive, got {self.lr}")
        require(self.batch_size >= 2, f"batch_size must be at least 2, got {self.batch_size}")
        require(0 <= self.momentum < 1, f"momentum must be in [0, 1), got {self.momentum}")
        require(
            self.weight_decay >= 0, f"weight_decay must not be negative, got {self.weight_decay}"
        )
        require(self.step_epochs >= 1, f"step_epochs must be at least 1, got {self.step_epochs}")
        require(
            0 <= self.label_smoothing < 1,
            f"label_smoothing must be in [0, 1), got {self.label_smoothing}",
        )
        require(self.cache_bytes >= 0, f"cache_bytes must not be negative, got {self.cache_bytes}")

    @property
    def preprocessing(self) -> Preprocessing:
        """How a test image is prepared for the adapted model."""
        return preprocessing(self.test_resolution, crop_fraction=self.crop_fraction)

    @property
    def num_reports(self) -> int:
        """How many reports the adaptation yields; the first is of the model as it came."""
        return 1 + {"none": 0, "finetune": self.epochs}.get(self.adaptation, 1)


def effective_lr(lr: float, *, batch_size: int) -> float:
    """8·lr·batch/512, the rate that the released fine-tuning takes its steps with."""
    return 8 * lr * batch_size / REFERENCE_BATCH
