"""Weights of other people's EfficientNets and ResNets under our names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.hub import get_dir
from torchvision.models import get_model, get_model_weights, list_models

from trainer.errors import CheckpointError, unknown_value
from trainer.foreign_resnets import PLAIN, TWEAKED, foreign_resnet
from trainer.models.build import build
from trainer.resnet_config import ResNetConfig

_EFFICIENTNETS = "efficientnet_"
IMAGENET_CLASSES = 1000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Foreign:
    """A network of a library: what it weighs, and what it was trained to see and say."""

    weights: Mapping[str, Tensor]
    """By our names; of an EfficientNet those are torchvision's."""
    norm_eps: float
    resnet: tuple[str, ResNetConfig] | None = None
    """What we call it, and what it is; None for an EfficientNet."""
    class_names: tuple[str, ...] = ()
    """() where the file does not tell."""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def torchvision_names() -> list[str]:
    """The networks of torchvision that we have too."""
    efficientnets = [name for name in list_models() if name.startswith(_EFFICIENTNETS)]
    return [*efficientnets, *PLAIN]


def from_torchvision(name: str, *, file: Path | None = None, download: bool = False) -> Foreign:
    """The weights that torchvision publishes for one of its networks, or those in a file.

    A file with ImageNet's 1,000 classes is taken to see and say what the published one does.
    Published ones are looked for where torchvision keeps its downloads.

    Raises: ConfigError for another name, CheckpointError where the file is not there, or is none.
    """
    if name not in torchvision_names():
        raise unknown_value("torchvision", name, torchvision_names())
    network = _on_meta(name)
    published = get_model_weights(name).DEFAULT
    cached = Path(get_dir()) / "checkpoints" / Path(published.url).name
    if file is None and not cached.is_file():
        if not download:
            raise CheckpointError(
                f"{cached.name} is not on this machine; add --download, or name a file of them: "
                f"torchvision:{name}=FILE"
            )
        tensors = published.get_state_dict(progress=False)
    else:
        tensors = _tensors(file or cached)
    return _of_torchvision(name, tensors, network, published)


def _has_its_head(tensors: Mapping[str, Tensor], network: nn.Module) -> bool:
    """Whether the classifier's bias has ImageNet's classes: as published."""
    bias = tensors.get(list(network.state_dict())[-1])
    return bias is not None and bias.shape == (IMAGENET_CLASSES,)


def _on_meta(network: str | ResNetConfig) -> nn.Module:
    """Torchvision's network of that name, or ours, with shapes alone."""
    with torch.device("meta"):
        if isinstance(network, ResNetConfig):
            return build(network)
        theirs: nn.Module = get_model(network)
        return theirs


def _of_torchvision(
    name: str, tensors: Mapping[str, Tensor], network: nn.Module, published: Any
) -> Foreign:
    whole = _has_its_head(tensors, network)
    resnet = foreign_resnet(name)
    if resnet is not None:
        counted = _counted(network, tensors)
        tensors = _renamed(f"torchvision:{name}", network, counted, _on_meta(resnet[1]))
    plain = Foreign(weights=tensors, norm_eps=_eps(network), resnet=resnet)
    if not whole:
        return plain
    seen = published.transforms()
    return replace(
        plain,
        class_names=tuple(published.meta["categories"]),
        mean=tuple(seen.mean),
        std=tuple(seen.std),
    )


def from_timm(name: str, *, file: Path | None = None, download: bool = False) -> Foreign:
    """The weights that timm has for one of its networks, or those in a file of timm's names.

    Raises: CheckpointError where timm is not installed, does not know the name, or has no weights
        here, and for a network whose tensors are not in order those of one that we have.
    """
    network = _timm_network(name)
    family = name.partition(".")[0]
    if family not in timm_names():
        names = ", ".join(timm_names())
        raise CheckpointError(f"timm:{name}: no network of ours; choose from {names}")
    settings = network.pretrained_cfg
    if file is None and not download:
        file = _kept(name, settings)
    if file is None:
        network = _fetched(name)
    theirs = network.state_dict() if file is None else _tensors(file)
    published = _has_its_head(theirs, network)
    resnet = foreign_resnet(family)
    ours = _on_meta(resnet[1] if resnet else _as_torchvision(family))
    return Foreign(
        weights=_renamed(f"timm:{name}", network, theirs, ours),
        norm_eps=_eps(network),
        resnet=resnet,
        mean=tuple(settings["mean"]) if published else (),
        std=tuple(settings["std"]) if published else (),
    )


def timm_names() -> list[str]:
    """The networks of timm that we have too, without their tags."""
    shared = [name.replace("efficientnet_v2", "efficientnetv2") for name in torchvision_names()]
    return [*shared, *TWEAKED]


def _as_torchvision(family: str) -> str:
    return family.replace("efficientnetv2", "efficientnet_v2")


def _timm_network(name: str) -> Any:
    """The network as timm builds it, with weights by chance."""
    try:
        import timm
    except ModuleNotFoundError:
        raise CheckpointError(f"timm:{name}: timm is not installed; pip install timm") from None
    if not timm.is_model(name):
        raise CheckpointError(str(unknown_value("timm", name, timm_names())))
    if name.startswith("tf_"):
        raise CheckpointError(
            f"timm:{name}: its convolutions are padded as TensorFlow's are, ours as PyTorch's; "
            f"use timm:{name.removeprefix('tf_').partition('.')[0]}"
        )
    return timm.create_model(name)


def _kept(name: str, settings: Mapping[str, Any]) -> Path:
    """The published file, if timm has fetched it before. Raises: CheckpointError."""
    from huggingface_hub import try_to_load_from_cache  # timm's own way to fetch them

    hub = settings.get("hf_hub_id")
    found = try_to_load_from_cache(hub, "model.safetensors") if hub else None
    if not isinstance(found, str):
        raise CheckpointError(
            f"timm:{name}: no weights on this machine; add --download, or name a file: "
            f"timm:{name}=FILE"
        )
    return Path(found)


def _fetched(name: str) -> Any:
    import timm

    try:
        return timm.create_model(name, pretrained=True)
    except Exception as error:  # the hub's client has many of its own
        why = " ".join(str(error).split())[:200]
        raise CheckpointError(f"timm:{name}: its weights cannot be fetched: {why}") from error


def _renamed(
    name: str, network: nn.Module, theirs: Mapping[str, Tensor], peer: nn.Module
) -> dict[str, Tensor]:
    """A network's tensors under the peer's names: both list the same layers in the same order."""
    ours, order = peer.state_dict(), list(network.state_dict())
    missing = [key for key in order if key not in theirs]
    if missing or len(theirs) != len(order):
        first = ", ".join((missing or sorted(theirs.keys() - set(order)))[:3])
        raise CheckpointError(f"{name}: the file's tensors are not this network's: {first} …")
    head = list(ours)[-2:]
    pairs = list(zip(ours, order, strict=False))
    wrong = [
        key
        for target, key in pairs
        if target not in head and ours[target].shape != theirs[key].shape
    ]
    if wrong or len(ours) != len(order):
        first = ", ".join(wrong[:3]) or f"{len(order)} tensors instead of {len(ours)}"
        raise CheckpointError(f"{name}: another network than ours of that name: {first}")
    return {target: theirs[key] for target, key in pairs}


def _counted(network: nn.Module, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """With the counters of batch norm, which old files lack."""
    counters = [key for key in network.state_dict() if key.endswith("num_batches_tracked")]
    return {**dict.fromkeys(counters, torch.tensor(0)), **tensors}


def _eps(network: nn.Module) -> float:
    return next(part.eps for part in network.modules() if isinstance(part, nn.BatchNorm2d))


def _tensors(file: Path) -> dict[str, Tensor]:
    """A state dictionary; reading it never executes code. Raises: CheckpointError."""
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, UnpicklingError, SafetensorError, EOFError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{file}: no file of weights ({why})") from error
    if not isinstance(content, dict) or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{file}: no state dictionary, which maps names to tensors")
    return content
