"""What a trick is, how strong it is, and what it is carried out with. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from trainer.augment.policy import Augmentation
from trainer.config import Strict, TrainConfig

if TYPE_CHECKING:
    from orchestrator.weights import Pretrained

Slot: TypeAlias = Literal["", "mix", "attention", "stem"]
"""Tricks of one slot take each other's place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrickSettings(Strict):
    """How strong the tricks are: the numbers of their papers."""

    warmup_epochs: float | None = None
    """None means 5, or a tenth of the run where that is less."""
    label_smoothing: float = 0.1
    mixup_alpha: float = 0.2
    cutmix_alpha: float = 1.0
    temperature: float = 1.0
    """Of distillation: 1 in Assemble-ResNet, 20 in Bag of Tricks."""
    distillation_weight: float = 1.0
    """Of the teacher's term beside the labels' of 1."""
    t_squared: bool = True
    """Multiply the teacher's term by the temperature's square, which keeps its gradients' size."""
    keep_prob: float = 0.9
    """Of DropBlock."""
    block_size: int | None = None
    """Of DropBlock; None means 7, or 3 where the last map is smaller than that."""
    se_ratio: int = 16
    sk_ratio: int = 2
    alpha: int = 2
    """Of Big-Little: what the little branch's channels are divided by."""
    beta: int = 4
    """Of Big-Little: what its blocks are divided by."""
    stochastic_depth: float = 0.1
    dropout: float = 0.2
    ema_decay: float | None = None
    """None means the recipe's own, or 0.9999."""
    precision: Literal["fp16", "bf16"] | None = None
    """None means fp16 on a GPU, as in the papers, and bf16 on a CPU."""
    test_resolution: int | None = None
    """None means 8/7 of the train resolution, in whole strides of the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What tricks are carried out with."""

    settings: TrickSettings = TrickSettings()
    policy: Augmentation | None = None
    teacher: Pretrained | None = None


Change: TypeAlias = Callable[[TrainConfig, Means], TrainConfig]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trick:
    """One named switch."""

    name: str
    says: str
    """In a line or two."""
    source: str
    switch: str
    """The field of `TrainConfig` that it sets."""
    on: Change
    off: Change
    slot: Slot = ""
    reads: tuple[str, ...] = ()
    """Its settings."""
