"""What must be known of a trained model to use it elsewhere. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from trainer.config import (
    BlockStage,
    EfficientNetConfig,
    ModelConfig,
    ResNetConfig,
    Strict,
    WideResNetConfig,
    require,
)
from trainer.errors import ConfigError
from trainer.preprocessing import Preprocessing
from trainer.resnet_config import BigLittle, DropBlock

FORMAT = 1
"""Raised when older files can no longer be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecipe(Strict):
    """A model without its weights: what it is built from, what it is fed with, what it answers."""

    format: int = FORMAT
    name: str
    """Such as `B1`."""
    model: ModelConfig
    """The network; its resolution is the one that it was trained at."""
    pooled_map: bool = False
    """Whether an affine map follows the pool (see `trainer.fixres.parametric`)."""
    class_names: tuple[str, ...]
    """In the order of the logits."""
    preprocessing: Preprocessing
    """Its resolution is the one that the model is meant to be used at."""
    mean: tuple[float, ...]
    """Per channel, as fractions of full brightness: subtracted from an image in [0, 1]."""
    std: tuple[float, ...]
    """What the difference is divided by."""
    train: Mapping[str, Any] = field(default_factory=dict)
    """`TrainConfig.to_json()` of the run behind the weights; empty where there was none of ours."""
    scores: Mapping[str, Any] = field(default_factory=dict)
    """How good it is, and on what: `split`, `top1`, `top5`, `num_images` …"""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """Where it comes from: `trial`, `seed`, `adaptation`, `weights` …"""

    def __post_init__(self) -> None:
        require(
            len(self.class_names) == self.model.num_classes,
            f"class_names: {len(self.class_names)} names for {self.model.num_classes} classes",
        )
        for name in ("mean", "std"):
            values = getattr(self, name)
            require(len(values) == 3, f"{name}: expected three channels, got {len(values)}")
        require(min(self.std) > 0, f"std must be positive, got {self.std}")


_FAMILIES: dict[str, type[ModelConfig]] = {
    "efficientnet": EfficientNetConfig,
    "wide-resnet": WideResNetConfig,
    "resnet": ResNetConfig,
}
_NESTED: dict[str, type[BigLittle | DropBlock]] = {
    "big_little": BigLittle,
    "drop_block": DropBlock,
}
"""Keys of a network whose values are configurations themselves."""


def recipe_from_json(document: Mapping[str, Any]) -> ModelRecipe:
    """The recipe whose `to_json` gave the document.

    Raises: ConfigError for a document that is none, or of another format.
    """
    try:
        found = document["format"]
        require(found == FORMAT, f"format: this is format {FORMAT}, got {found}")
        values: dict[str, Any] = dict(document)
        values["model"] = model_from_json(document["model"])
        values["preprocessing"] = Preprocessing(**document["preprocessing"])
        for name in ("class_names", "mean", "std"):
            values[name] = tuple(document[name])
        return ModelRecipe(**values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"recipe: {' '.join(str(error).split())}") from error


def model_from_json(document: Mapping[str, Any]) -> ModelConfig:
    """The network configuration whose `to_json` gave the document. Raises: ConfigError."""
    try:
        config: type[Any] = _FAMILIES[document["family"]]
        names = {each.name for each in fields(config)}
        values = _with_tuples(document)
        unknown = values.keys() - names
        require(not unknown, f"model: unknown key {', '.join(sorted(unknown))}")
        if "stages" in values:
            values["stages"] = tuple(BlockStage(**stage) for stage in values["stages"])
        for key, nested in _NESTED.items():
            if values.get(key) is not None:
                values[key] = nested(**_with_tuples(values[key]))
        built: ModelConfig = config(**values)
        return built
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"model: {' '.join(str(error).split())}") from error


def _with_tuples(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in document.items()
    }
