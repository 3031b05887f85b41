"""Our EfficientNets as torchvision's own, and back.

The names and shapes of the weights are the same; what they are worth in torchvision's network
depends on what no weight shows: strides, and the constant that batch norm adds to its variances.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import EfficientNet, get_model
from torchvision.models.efficientnet import FusedMBConv

from trainer.config import BlockStage, EfficientNetConfig
from trainer.errors import CheckpointError, ConfigError, unknown_value
from trainer.fixres.parametric import PooledMap
from trainer.models.build import build
from trainer.portable.files import PortableModel

SIZES = (*(f"efficientnet_b{size}" for size in range(8)), "efficientnet_v2_s")
"""The functions of `torchvision.models` whose networks ours are compared with."""

_NAMED = 3
"""Differences that a refusal names."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TorchvisionWeights:
    """A state that `get_model(name, num_classes=...)` loads strictly."""

    name: str
    """One of `SIZES`."""
    state: Mapping[str, Tensor]
    note: str
    """What was changed so that the answers stay the same; empty where nothing was."""


def to_torchvision(model: PortableModel) -> TorchvisionWeights:
    """The weights for torchvision's network of the same size, which then answers alike.

    Another batch-norm constant than torchvision's is moved into the variances, a map behind the
    pool into the classifier; both are exact in evaluation.

    Raises: ConfigError, naming what differs from the nearest size; CheckpointError.
    """
    recipe = model.recipe
    if not isinstance(recipe.model, EfficientNetConfig):
        raise ConfigError(
            f"{recipe.name} is a {recipe.model.family}; torchvision has {', '.join(SIZES)}"
        )
    name = _size_of(recipe.name, recipe.model)
    notes = []
    network = model.network()
    if _without_map(network):
        notes.append("the map behind the pool is part of the classifier")
    theirs, ours = torchvision_config(name).norm_eps, recipe.model.norm_eps
    if theirs != ours:
        _shift_variances(network, ours - theirs)
        notes.append(
            f"the variances of batch norm are raised by {ours:g} - {theirs:g}, "
            "the difference between the two constants"
        )
    wanted = _on_meta(name, recipe.model.num_classes).state_dict()
    state = {key: value for key, value in network.state_dict().items() if key in wanted}
    return TorchvisionWeights(name=name, state=state, note="; ".join(notes))


def from_torchvision(name: str, state: Mapping[str, Tensor]) -> nn.Module:
    """Our network of the same size with torchvision's weights, in evaluation mode.

    The number of classes is that of the classifier's bias.

    Raises: ConfigError for another name, CheckpointError for weights of another network.
    """
    if name not in SIZES:
        raise unknown_value("torchvision", name, SIZES)
    classes = len(state.get("classifier.1.bias", ()))
    if classes < 2:
        raise CheckpointError(f"{name}: the weights hold no 'classifier.1.bias' of two classes")
    with torch.random.fork_rng(devices=[]):
        network = build(torchvision_config(name, num_classes=classes))
    try:
        network.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:  # torch's word for names and shapes that do not fit
        why = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{name}: the weights do not fit: {why}") from error
    return network.eval()


def torchvision_config(
    name: str, *, num_classes: int = 1000, resolution: int = 224
) -> EfficientNetConfig:
    """The network that torchvision builds under this name, read off its layers."""
    network = _on_meta(name, num_classes)
    stem, *stages, head = network.features
    norm = stem[1]
    return EfficientNetConfig(
        stem_channels=stem[0].out_channels,
        stem_stride=stem[0].stride[0],
        stages=tuple(_stage(blocks) for blocks in stages),
        head_channels=head[0].out_channels,
        num_classes=num_classes,
        resolution=resolution,
        dropout=network.classifier[0].p,
        norm_eps=norm.eps,
        norm_momentum=norm.momentum,
        init="torchvision",
    )


@cache
def _on_meta(name: str, num_classes: int) -> EfficientNet:
    with torch.device("meta"):
        return get_model(name, num_classes=num_classes)


def _stage(blocks: Any) -> BlockStage:
    first = blocks[0]
    convolutions = [part for part in first.block.modules() if isinstance(part, nn.Conv2d)]
    fused = isinstance(first, FusedMBConv)
    # a fused block widens and looks around at once; the other looks around channel by channel
    spatial = convolutions[0] if fused else next(each for each in convolutions if each.groups > 1)
    inputs = convolutions[0].in_channels
    widened = fused and len(convolutions) == 1
    return BlockStage(
        operator="fused-mbconv" if fused else "mbconv",
        kernel=int(spatial.kernel_size[0]),
        stride=int(spatial.stride[0]),
        expand=1 if widened else spatial.out_channels // inputs,
        channels=convolutions[-1].out_channels,
        repeats=len(blocks),
    )


def _size_of(called: str, model: EfficientNetConfig) -> str:
    """Torchvision's name of the network. Raises: ConfigError, naming what differs."""
    apart = {name: _differences(model, torchvision_config(name)) for name in SIZES}
    nearest = min(apart, key=lambda name: len(apart[name]))
    wrong = apart[nearest]
    if wrong:
        rest = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise ConfigError(
            f"{called} is none of torchvision's networks; the nearest is {nearest}, "
            f"but here {', '.join(wrong[:_NAMED])}{rest}"
        )
    return nearest


def _differences(ours: EfficientNetConfig, theirs: EfficientNetConfig) -> list[str]:
    """What of the network would compute something else, a few words each."""
    found = [
        f"{name} is {getattr(ours, name)} instead of {getattr(theirs, name)}"
        for name in ("stem_channels", "stem_stride", "head_channels")
        if getattr(ours, name) != getattr(theirs, name)
    ]
    if len(ours.stages) != len(theirs.stages):
        found.append(f"there are {len(ours.stages)} stages instead of {len(theirs.stages)}")
    for number, (mine, other) in enumerate(zip(ours.stages, theirs.stages, strict=False), start=1):
        found += [
            f"stage {number}'s {name} is {value} instead of {other.to_json()[name]}"
            for name, value in mine.to_json().items()
            if value != other.to_json()[name]
        ]
    return found


@torch.no_grad()
def _shift_variances(network: nn.Module, by: float) -> None:
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d) and part.running_var is not None:
            # in double precision: a shift down leaves little of a small variance
            part.running_var.copy_(part.running_var.double() + by)


@torch.no_grad()
def _without_map(network: nn.Module) -> bool:
    """Move y = scale·x + shift into the classifier that follows; whether there was such a map."""
    found = [part for part in network.modules() if isinstance(part, PooledMap)]
    for part in found:
        classifier = next(each for each in network.modules() if isinstance(each, nn.Linear))
        classifier.bias.add_(part.shift * classifier.weight.sum(dim=1))
        classifier.weight.mul_(part.scale)
    return bool(found)
