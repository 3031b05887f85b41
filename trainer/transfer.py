"""Training that begins from weights instead of chance: what is taken over, what stays."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torchvision.models import EfficientNet

from trainer.config import InitialWeights, require
from trainer.errors import CheckpointError, DiskFull, is_disk_full

Weights = Mapping[str, Tensor]
"""By the names that `build` gives a network's parameters and buffers."""

MOST_NAMED = 3
"""Tensors that a complaint names."""


def digest_of(weights: Weights) -> str:
    """32 hex digits over names, types, shapes and values."""
    digest = blake2b(digest_size=16)
    for name in sorted(weights):
        values = weights[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name}\0{values.dtype.str}{values.shape}\0".encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


def head_of(network: nn.Module) -> tuple[str, ...]:
    """The names of the classifier's weight and bias: the last linear layer's."""
    linear = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)]
    require(bool(linear), "weights: the network has no linear layer to classify with")
    return f"{linear[-1]}.weight", f"{linear[-1]}.bias"


def parts_of(network: nn.Module) -> list[nn.Module]:
    """What comes before pool and classifier, in the order that an image goes through it.

    Of an EfficientNet the stem, each stage, and the convolution of the head.
    """
    if isinstance(network, EfficientNet):
        return list(network.features)
    head = head_of(network)[0].partition(".")[0]
    return [part for name, part in network.named_children() if name != head]


def misfits(network: nn.Module, weights: Weights, *, keep_head: bool) -> list[str]:
    """What of the weights does not fit, a few words a tensor; the head's are left out if it is new.

    `network` may lie on the meta device: only names and shapes are looked at.
    """
    wanted = network.state_dict()
    head = () if keep_head else head_of(network)
    found = []
    for name in {**wanted, **weights}:
        if name in head:
            continue
        if name not in weights:
            found.append(f"{name} is missing")
        elif name not in wanted:
            found.append(f"{name} is not in the network")
        elif wanted[name].shape != weights[name].shape:
            shapes = tuple(weights[name].shape), tuple(wanted[name].shape)
            found.append(f"{name} is {shapes[0]} instead of {shapes[1]}")
    return found


def require_fit(network: nn.Module, weights: Weights, *, keep_head: bool) -> None:
    """Raise: ConfigError that names the first tensors which do not fit."""
    wrong = misfits(network, weights, keep_head=keep_head)
    rest = f" and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
    named = ", ".join(wrong[:MOST_NAMED])
    require(not wrong, f"weights: they do not fit the network: {named}{rest}")


def begin_from(network: nn.Module, weights: Weights, initial: InitialWeights) -> None:
    """Give the network these weights; a new head stays as it was drawn.

    Raises: ConfigError where they do not fit.
    """
    require_fit(network, weights, keep_head=initial.keep_head)
    new = () if initial.keep_head else head_of(network)
    taken = {name: weight for name, weight in weights.items() if name not in new}
    network.load_state_dict(taken, strict=False)


def frozen_parts(network: nn.Module, initial: InitialWeights | None) -> list[nn.Module]:
    """The first parts, which keep their weights and their batch statistics.

    Raises: ConfigError where there are not that many.
    """
    if initial is None or initial.frozen == 0:
        return []
    parts = parts_of(network)
    require(
        initial.frozen <= len(parts),
        f"initial.frozen: the network has {len(parts)} parts, got {initial.frozen}",
    )
    return parts[: initial.frozen]


def write_weights(path: Path, weights: Weights) -> None:
    """Write the tensors whole or not at all. Raises: DiskFull, CheckpointError."""
    plain = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(save(plain))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        kind = DiskFull if is_disk_full(error) else CheckpointError
        raise kind(f"{path}: cannot be written: {error.strerror or error}") from error


def read_weights(path: Path, *, digest: str) -> dict[str, Tensor]:
    """What `write_weights` wrote, if it is what the digest says. Raises: CheckpointError."""
    try:
        weights = load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    if digest_of(weights) != digest:
        raise CheckpointError(f"{path}: holds other weights than its name says")
    return weights
