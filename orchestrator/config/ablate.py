"""What an ablation can be told. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from orchestrator.ablation.presets import find_preset
from orchestrator.ablation.steps import parse_tricks
from orchestrator.config.checks import check_count, check_decimal, refuse_elsewhere
from orchestrator.config.common import CommonConfig
from trainer.config import require
from trainer.errors import unknown_value

DESIGNS = ("cumulative", "leave-one-out", "add-one")
_LONGEST_LIST = 600
_SET_ELSEWHERE = {
    "model.family": "network",
    "model.resolution": "resolution",
    "data.evaluate_on": "design",
    "mix": "tricks",
    "distillation": "tricks",
    "test_resolution": "tricks",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AblateConfig(CommonConfig):
    """What each of some tricks buys."""

    families: ClassVar[tuple[str, ...]] = ("resnet", "efficientnet")

    preset: str | None = None
    """A paper's ladder: `assemble-resnet` or `bag-of-tricks`."""
    tricks: str | None = None
    """One's own: `label-smoothing,mixup+epochs-2x,sk`; what is joined by + comes together."""
    design: str = "cumulative"
    """`cumulative`: each step on top of those before. `leave-one-out`: all but one. `add-one`: one
    alone."""
    equal_epochs: bool = False
    """Train every rung as long as the longest."""
    teacher: str | None = None
    """What distillation learns from: a model folder, a checkpoint, `torchvision:NAME`, `timm:NAME`,
    the latter two also with `=FILE`."""
    beside: str | None = None
    """Run directory of `scale`, whose members stand beside the rungs."""
    register: str | None = None
    """Name in MLflow's registry; of the rungs `NAME-E3` and so on."""
    network: str | None = None
    """Such as `resnet-50-small`; None means the preset's, else what suits the data set."""
    width: str | None = None
    """Multiplier of its channels; None means the preset's, else what suits the data set."""
    resolution: int | None = None
    """Side of its training images; None means the preset's, else what suits the data set."""
    speed: bool = True
    """Measure how fast the networks answer."""
    speed_again: int = 0
    """Any other number measures anew, where the machine was busy the first time."""
    memory_per_trial: str | None = None
    """Bytes that a trial may take, such as `6G`; None means its part of the machine's."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """How strong the tricks are: mixup_alpha, label_smoothing, temperature, keep_prob …"""

    def __post_init__(self) -> None:
        CommonConfig.__post_init__(self)  # super() does not find its class under slots=True
        for name in ("preset", "tricks", "teacher", "beside", "register", "network"):
            text = getattr(self, name)
            require(text is None or bool(text.strip()), f"{name} must not be empty")
            require(text is None or "\0" not in text, f"{name}: {text!a} is not UTF-8 text")
        self._check_ladder()
        require(self.speed_again >= 0, f"speed_again must not be negative, got {self.speed_again}")
        check_count("resolution", self.resolution, least=1)
        if self.width is not None:
            check_decimal("width", self.width, least=0, most=100)
        require(self.controls == "all", "controls: the rungs are each other's; leave it out")
        refuse_elsewhere(self.train, _SET_ELSEWHERE)

    def _check_ladder(self) -> None:
        require(
            "," not in self.design,
            f"design: one at a time, got '{self.design[:60]}'; choose from {', '.join(DESIGNS)}",
        )
        if self.design not in DESIGNS:
            raise unknown_value("design", self.design[:40], DESIGNS)
        require(
            self.preset is None or self.tricks is None,
            "tricks: --preset has its own; leave out one of the two",
        )
        if self.preset is not None:
            find_preset(self.preset)
        if self.tricks is not None:
            require(len(self.tricks) <= _LONGEST_LIST, "tricks: the list is too long")
            tricks = [trick for step in parse_tricks(self.tricks) for trick in step]
            # the base is without them, so that what is set here would have no effect
            refuse_elsewhere(self.train, {trick.switch: "tricks" for trick in tricks})
