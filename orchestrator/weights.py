"""Weights that training may begin from: found by what `--weights` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError
from orchestrator.loading import decode
from orchestrator.models.finding import model_folder
from orchestrator.run_dir import RunDir
from search_spaces.published import PUBLISHED, published
from trainer.config import EfficientNetConfig, ModelConfig, ResNetConfig, TrainConfig
from trainer.errors import CheckpointError, ConfigError
from trainer.models.baselines import baseline

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.portable.files import PortableModel
    from trainer.pretrained import Foreign

LIBRARIES = ("torchvision", "timm")
FREEZES = "none, stem, stage-N (the stem and the first N stages) or features (all but the head)"


@dataclass(frozen=True, kw_only=True, eq=False)
class Pretrained:
    """A network with weights."""

    asked: str
    """As `--weights` had it."""
    name: str
    """What to call the network."""
    model: ModelConfig
    """As it was trained, with its own classes."""
    weights: Mapping[str, Tensor]
    class_names: tuple[str, ...] = ()
    """() where nobody has written them down."""
    mean: tuple[float, ...] = ()
    """What its images were normalised by; () where that is not known."""
    std: tuple[float, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Of the tensors."""
        from trainer.transfer import digest_of

        return digest_of(self.weights)

    @property
    def efficientnet(self) -> EfficientNetConfig:
        """The network, where no other family will do. Raises: UsageError."""
        if not isinstance(self.model, EfficientNetConfig):
            raise UsageError(
                f"--weights: {self.asked}: a {self.model.family}; an EfficientNet is needed"
            )
        return self.model


def find_weights(text: str, *, option: str = "--weights", download: bool = False) -> Pretrained:
    """`torchvision:NAME`, `timm:NAME`, either with `=FILE`, a model folder, or a checkpoint.

    Raises: UsageError, on one line.
    """
    library, colon, rest = text.partition(":")
    try:
        if colon and library in LIBRARIES:
            return _of_library(text, library, rest, download=download)
        return _of_ours(text)
    except (CheckpointError, ConfigError, UsageError) as error:
        raise UsageError(f"{option}: {error}") from error


def frozen_parts(text: str, model: EfficientNetConfig) -> int:
    """How many parts of the network `--freeze` means, from the stem on.

    Raises: ConfigError.
    """
    stages = len(model.stages)
    known = {"none": 0, "stem": 1, "features": stages + 2}
    known |= {f"stage-{number}": 1 + number for number in range(1, stages + 1)}
    if text not in known:
        raise ConfigError(
            f"--freeze: unknown value '{text}'; choose {FREEZES}; the network has {stages} stages"
        )
    return known[text]


def _of_library(text: str, library: str, rest: str, *, download: bool) -> Pretrained:
    from trainer.pretrained import from_timm, from_torchvision

    name, _, file = rest.partition("=")
    read = from_torchvision if library == "torchvision" else from_timm
    found = read(name, file=Path(file) if file else None, download=download)
    family = name.partition(".")[0].replace("efficientnetv2", "efficientnet_v2")
    return _named(text, family, found)


def _named(text: str, family: str, found: Foreign) -> Pretrained:
    classes = len(found.weights[_last_weight(found.weights)])
    if found.resnet is not None:
        name, resnet = found.resnet
        return _pretrained(text, name, resnet.with_(num_classes=classes), found)
    size = family.removeprefix("efficientnet_").upper()
    if size in PUBLISHED:
        model = published(size, num_classes=classes)
    elif family == "efficientnet_v2_s":
        size, model = "V2-S", baseline("efficientnet-v2-s", num_classes=classes)
    else:
        raise ConfigError(f"{text}: no network of ours; choose B0 to B7 or efficientnet_v2_s")
    return _pretrained(text, size, model, found)


def _pretrained(
    text: str, name: str, model: EfficientNetConfig | ResNetConfig, found: Foreign
) -> Pretrained:
    return Pretrained(
        asked=text,
        name=name,
        model=model.with_(norm_eps=found.norm_eps),
        weights=found.weights,
        class_names=found.class_names,
        mean=found.mean,
        std=found.std,
    )


def _last_weight(weights: Mapping[str, Tensor]) -> str:
    return [name for name in weights if name.endswith(".weight")][-1]


def _of_ours(text: str) -> Pretrained:
    from trainer.checkpoint import load_model
    from trainer.portable.files import read_model

    place = Path(text)
    if not place.exists():
        raise CheckpointError(
            f"'{text}' is not there; name a model folder, a checkpoint, torchvision:NAME or "
            "timm:NAME"
        )
    if place.suffix == ".pt":
        saved = load_model(place)
        config = decode(TrainConfig, saved.config, text)
        return Pretrained(asked=text, name=place.stem, model=config.model, weights=saved.weights)
    model = read_model(model_folder(place))
    recipe = model.recipe
    return Pretrained(
        asked=text,
        name=recipe.name,
        model=recipe.model,
        weights=_without_map(model),
        class_names=recipe.class_names,
        mean=recipe.mean,
        std=recipe.std,
    )


def keep_weights(found: Pretrained, run_dir: RunDir) -> None:
    """Copy the tensors into the run directory, where every worker finds them."""
    from trainer.transfer import write_weights

    path = run_dir.weights(found.digest)
    if not path.exists():
        write_weights(path, found.weights)


def _without_map(model: PortableModel) -> Mapping[str, Tensor]:
    """The network's own tensors: a map behind the pool was fitted to one resolution."""
    import torch

    from trainer.models.build import build

    with torch.device("meta"):
        names = build(model.recipe.model).state_dict()
    return {name: weight for name, weight in model.weights.items() if name in names}
