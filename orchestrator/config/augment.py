"""What the search for an augmentation policy can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from orchestrator.config.checks import check_count, check_text, refuse_elsewhere
from orchestrator.config.common import CommonConfig
from trainer.config import require

_OF_THE_CHILD = {
    "model.family": "child",
    "model.resolution": "resolution",
    "data.train_images": "train-images",
    "data.evaluate_on": "controls",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchAugmentConfig(CommonConfig):
    """The search for an augmentation policy."""

    families: ClassVar[tuple[str, ...]] = ("wide-resnet", "efficientnet")

    method: Literal[
        "autoaugment", "fast-autoaugment", "pba", "randaugment", "random", "trivialaugment", "none"
    ] = "autoaugment"
    """How policies are searched; the last two search nothing and are compared as they are."""
    trials: int | None = None
    """Policies that are tried, or members of pba's population; None means what suits the method."""
    child: str | None = None
    """The network that is trained to judge a policy; None means what suits the machine."""
    train_images: int | None = None
    """That a child learns from, 0 for all; None means what suits the machine. The verdict is always
    trained on all."""
    sub_policies: int = 5
    """Of each policy that is tried."""
    resolution: int | None = None
    """The child's side in pixels; None means what suits the images."""
    keep: int = 5
    """Best policies whose sub-policies make the result (autoaugment, random)."""
    controller_lr: float | None = None
    """autoaugment: the controller's learning rate; None means ten times the paper's, which was
    meant for 15,000 children."""
    folds: int = 5
    """fast-autoaugment: models that judge policies."""
    draws: int = 5
    """fast-autoaugment: augmented copies of an image by which a policy is scored."""
    interval: int = 3
    """pba: epochs of a generation."""
    halving: bool = True
    """randaugment, random: drop the weaker children part of the way."""

    def __post_init__(self) -> None:
        CommonConfig.__post_init__(self)  # super() does not find its class under slots=True
        for name, least in (("trials", 1), ("train_images", 0), ("resolution", 8)):
            check_count(name, getattr(self, name), least=least)
        for name in ("sub_policies", "keep", "folds", "draws", "interval"):
            check_count(name, getattr(self, name), least=1)
        require(
            self.controller_lr is None or self.controller_lr > 0,
            f"controller_lr must be positive, got {self.controller_lr}",
        )
        if self.child is not None:
            check_text("child", self.child)
        refuse_elsewhere(self.train, _OF_THE_CHILD)
