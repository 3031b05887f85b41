"""Weights of other people's EfficientNets under our names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.hub import get_dir
from torchvision.models import get_model_weights, list_models

from trainer.errors import CheckpointError, unknown_value

PREFIX = "efficientnet_"
IMAGENET_CLASSES = 1000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Foreign:
    """A network of a library: what it weighs, and what it was trained to see and say."""

    weights: Mapping[str, Tensor]
    """By our names, which are torchvision's."""
    norm_eps: float
    class_names: tuple[str, ...] = ()
    """() where the file does not tell."""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def torchvision_names() -> list[str]:
    """The EfficientNets of torchvision."""
    return [name for name in list_models() if name.startswith(PREFIX)]


def from_torchvision(name: str, *, file: Path | None = None, download: bool = False) -> Foreign:
    """The weights that torchvision publishes for one of its EfficientNets, or those in a file.

    A file with ImageNet's 1,000 classes is taken to see and say what the published one does.
    Published ones are looked for where torchvision keeps its downloads.

    Raises: ConfigError for another name, CheckpointError where the file is not there, or is none.
    """
    if name not in torchvision_names():
        raise unknown_value("torchvision", name, torchvision_names())
    with torch.device("meta"):
        network = _torchvision_network(name)
    published = get_model_weights(name).DEFAULT
    cached = Path(get_dir()) / "checkpoints" / Path(published.url).name
    if file is None and not cached.is_file():
        if not download:
            raise CheckpointError(
                f"{cached.name} is not on this machine; add --download, or name a file of them: "
                f"torchvision:{name}=FILE"
            )
        return _of_torchvision(published.get_state_dict(progress=False), network, published)
    tensors = _tensors(file or cached)
    return _of_torchvision(tensors, network, published if _has_its_head(tensors) else None)


def _has_its_head(tensors: Mapping[str, Tensor]) -> bool:
    """Whether the last tensor, the classifier's bias, has ImageNet's classes: as published."""
    return bool(tensors) and len(list(tensors.values())[-1]) == IMAGENET_CLASSES


def _torchvision_network(name: str) -> nn.Module:
    from torchvision.models import get_model

    network: nn.Module = get_model(name)
    return network


def _of_torchvision(tensors: Mapping[str, Tensor], network: nn.Module, published: Any) -> Foreign:
    if published is None:
        return Foreign(weights=tensors, norm_eps=_eps(network))
    seen = published.transforms()
    return Foreign(
        weights=tensors,
        norm_eps=_eps(network),
        class_names=tuple(published.meta["categories"]),
        mean=tuple(seen.mean),
        std=tuple(seen.std),
    )


def from_timm(name: str, *, file: Path | None = None, download: bool = False) -> Foreign:
    """The weights that timm has for one of its EfficientNets, or those in a file of timm's names.

    Raises: CheckpointError where timm is not installed, does not know the name, or has no weights
        here, and for a network whose tensors are not an EfficientNet's in torchvision's order.
    """
    network = _timm_network(name)
    settings = network.pretrained_cfg
    if file is None and not download:
        file = _kept(name, settings)
    if file is None:
        network = _fetched(name)
    theirs = network.state_dict() if file is None else _tensors(file)
    published = _has_its_head(theirs)
    return Foreign(
        weights=_renamed(name, network, theirs),
        norm_eps=_eps(network),
        mean=tuple(settings["mean"]) if published else (),
        std=tuple(settings["std"]) if published else (),
    )


def _timm_network(name: str) -> Any:
    """The network as timm builds it, with weights by chance."""
    try:
        import timm
    except ModuleNotFoundError:
        raise CheckpointError(f"timm:{name}: timm is not installed; pip install timm") from None
    if not timm.is_model(name):
        near = [known for known in timm.list_models("*efficientnet*") if "tf_" not in known]
        raise CheckpointError(str(unknown_value("timm", name, near)))
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


def _renamed(name: str, network: nn.Module, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """timm's tensors under torchvision's names: both list the same layers in the same order."""
    family = name.partition(".")[0].replace("efficientnetv2", "efficientnet_v2")
    if family not in torchvision_names():
        raise CheckpointError(
            f"timm:{name}: no network of ours; choose from {', '.join(torchvision_names())}"
        )
    with torch.device("meta"):
        ours = _torchvision_network(family).state_dict()
    order = list(network.state_dict())
    missing = [key for key in order if key not in theirs]
    if missing or len(theirs) != len(order):
        first = ", ".join((missing or sorted(theirs.keys() - set(order)))[:3])
        raise CheckpointError(f"timm:{name}: the file's tensors are not this network's: {first} …")
    head = list(ours)[-2:]
    pairs = list(zip(ours, order, strict=False))
    wrong = [
        key
        for target, key in pairs
        if target not in head and ours[target].shape != theirs[key].shape
    ]
    if wrong or len(ours) != len(order):
        first = ", ".join(wrong[:3]) or f"{len(order)} tensors instead of {len(ours)}"
        raise CheckpointError(f"timm:{name}: another network than torchvision's {family}: {first}")
    return {target: theirs[key] for target, key in pairs}


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
