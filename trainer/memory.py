"""What a training step takes at its peak, found without taking it.

The step is walked through with tensors that have shapes and no values, so that a network of any
size is measured in a second on any machine.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from trainer.config import TrainConfig
from trainer.models.build import build
from trainer.precision import autocast
from trainer.transfer import frozen_parts

_OPTIMIZER_COPIES = {"sgd": 1, "rmsprop": 2}
"""Momentum; for RMSProp the mean square too."""
_FLOAT = 4


def training_bytes(config: TrainConfig, *, images: int | None = None) -> int:
    """Bytes at the peak of a step with micro-batches of so many images (default: as configured).

    Weights (a teacher's too), gradients, optimizer and average in float32; everything that the
    backward pass needs again; and twice the largest map, for the gradients that meet in it. What
    the libraries take beside tensors (workspaces of convolutions, a CUDA context) is not in it.
    """
    images = -(-config.batch_size // config.accumulate) if images is None else images
    fixed, per_image = _measured(config.with_(accumulate=1, seed=0))
    return fixed + per_image * images


@lru_cache(maxsize=64)
def _measured(config: TrainConfig) -> tuple[int, int]:
    """Bytes that do not depend on the batch, and bytes of one image."""
    with FakeTensorMode(), torch.random.fork_rng(devices=[]):
        network = build(config.model).train()
        for part in frozen_parts(network, config.initial):
            part.requires_grad_(False).eval()
        few, many = (_kept(network, config, images) for images in (2, 4))
    per_image = (many - few) // 2
    learning = sum(p.numel() for p in network.parameters() if p.requires_grad)
    everything = sum(t.numel() for t in (*network.parameters(), *network.buffers()))
    copies = 1 + _OPTIMIZER_COPIES[config.optim.optimizer]
    averages = everything if config.ema_decay > 0 else 0
    fixed = everything + copies * learning + averages + _teachers(config)
    return _FLOAT * fixed, per_image


def _teachers(config: TrainConfig) -> int:
    """Numbers in the teacher's tensors; it looks before the step, and keeps nothing for it."""
    if config.distillation is None:
        return 0
    with torch.device("meta"):
        network = build(config.distillation.model)
    return sum(t.numel() for t in (*network.parameters(), *network.buffers()))


def _kept(network: nn.Module, config: TrainConfig, images: int) -> int:
    """Bytes kept for the backward pass of a batch, and of the two largest maps."""
    held = {id(tensor) for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, Tensor] = {}
    largest = 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal largest
        size = tensor.untyped_storage().nbytes()
        largest = max(largest, size)
        if id(tensor) not in held:
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    side = config.model.resolution
    batch = torch.empty(images, 3, side, side)
    with saved_tensors_hooks(pack, _same), autocast(config.execution, batch.device):
        logits = network(batch)
    del logits
    total = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    return total + batch.nbytes + 2 * largest


def _same(value: Any) -> Any:
    return value
