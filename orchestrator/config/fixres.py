"""What a resolution adaptation can be told. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from orchestrator.config.checks import check_count
from orchestrator.config.common import CommonConfig
from trainer.config import require
from trainer.errors import ConfigError, unknown_value

ADAPTATIONS = ("none", "parametric", "statistics", "finetune")
"""From the one that changes nothing to the one that changes most."""
TUNABLE = (
    "epochs",
    "lr",
    "batch_size",
    "momentum",
    "weight_decay",
    "step_epochs",
    "augmentation",
    "flip",
    "label_smoothing",
    "cache_bytes",
)
"""Fields of `FixResConfig` that the user decides."""
AS_TRAINED = "as-trained"
"""The data set that the networks were trained on, by their recipe."""
_LONGEST_LIST = 200
_ELSEWHERE = {
    "adaptation": "--adapt",
    "affine": "--affine",
    "test_resolution": "--test-resolutions",
    "seed": "--seed",
}
_NOT_HERE = ("policy", "classes", "controls")


@dataclass(frozen=True, slots=True, kw_only=True)
class FixResStageConfig(CommonConfig):
    """Trained networks at other test resolutions, and adapted to them."""

    families: ClassVar[tuple[str, ...]] = ("efficientnet", "wide-resnet")

    dataset: str = AS_TRAINED
    """A name, or the path of an image folder; `as-trained` is the networks' own."""
    model: str | None = None
    """A model folder, or one of its two files."""
    family: str | None = None
    """Run directory of a trained family: all of its networks."""
    train_resolution: int | None = None
    """Train each network anew at this resolution, and adapt it afterwards."""
    test_resolutions: str | None = None
    """Sides in pixels, with commas; None means some around the train resolution."""
    adapt: str = "none,parametric,statistics,finetune"
    """Ways to adapt, with commas."""
    affine: bool = False
    """Fine-tune γ and β of the last batch norm too."""
    explain: bool = False
    """Say how large objects look, and stop."""
    register: str | None = None
    """Name in MLflow's registry; of several networks, `NAME-B1` and so on."""
    finetune_at: str | None = None
    """Resolutions to fine-tune at, with commas, or `all`; None means the best three of the sweep
    that lie side by side."""
    finetune: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the fine-tuning: epochs, lr, augmentation, label_smoothing, batch_size …"""

    def __post_init__(self) -> None:
        CommonConfig.__post_init__(self)  # super() does not find its class under slots=True
        for name in ("model", "family", "test_resolutions", "adapt", "finetune_at", "register"):
            text = getattr(self, name)
            require(text is None or bool(text.strip()), f"{name} must not be empty")
        require(self.model is None or self.family is None, "family: leave out this or --model")
        check_count("train_resolution", self.train_resolution, least=1)
        usual = CommonConfig()
        for name in _NOT_HERE:
            require(
                getattr(self, name) == getattr(usual, name),
                f"{name}: a trained network has its own; leave it out",
            )
        require(
            not self.train,
            "train: a network that is trained at another resolution is trained as it was before",
        )
        require(
            self.epochs is None or "epochs" not in self.finetune,
            "epochs: leave out this or --set finetune.epochs",
        )
        require(
            self.seeds is None or self.train_resolution is not None,
            "seeds: a trained network has its own; they count with --train-resolution",
        )
        self.adaptations()
        if self.test_resolutions is not None:
            parse_sides("test_resolutions", self.test_resolutions)
        if self.finetune_at not in (None, "all"):
            parse_sides("finetune_at", self.finetune_at or "")
        for key in self.finetune:
            require(
                key not in _ELSEWHERE,
                f"finetune.{key}: this is decided by {_ELSEWHERE.get(key)}",
            )
            if key not in TUNABLE:
                raise unknown_value("finetune", key, TUNABLE)

    def adaptations(self) -> tuple[str, ...]:
        """The ways that are asked for, from the one that changes least on. Raises: ConfigError."""
        asked = _parts("adapt", self.adapt)
        for name in asked:
            if name not in ADAPTATIONS:
                raise unknown_value("adapt", name, ADAPTATIONS)
        return tuple(name for name in ADAPTATIONS if name in asked)


def parse_sides(name: str, text: str) -> tuple[int, ...]:
    """`64,96,128` in ascending order, each once. Raises: ConfigError."""
    sides = set()
    for part in _parts(name, text):
        if not part.isascii() or not part.isdigit() or len(part) > 6 or int(part) < 1:
            raise ConfigError(f"{name}: '{part[:24]}' is no number of pixels, such as 96")
        sides.add(int(part))
    return tuple(sorted(sides))


def _parts(name: str, text: str) -> list[str]:
    require(len(text) <= _LONGEST_LIST, f"{name}: '{text[:24]}…' is too long")
    parts = [part.strip() for part in text.split(",") if part.strip()]
    require(bool(parts), f"{name}: '{text}' names nothing")
    return parts
