"""The moving average of a model's weights, which is what gets evaluated."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[Tensor, ...] | list[Tensor]


def warmed_up_decay(decay: float, updates: int) -> float:
    """min(decay, (1 + t)/(10 + t)) after t updates, as TensorFlow's ExponentialMovingAverage.

    Without it a decay of 0.9999 would still hold mostly initial weights after ten thousand steps.
    """
    return min(decay, (1 + updates) / (10 + updates))


class MovingAverage(AveragedModel):
    """An exponential moving average of weights and of batch-norm statistics alike.

    The average starts as the initial weights, and the first update is t = 1 (Tan & Le 2019,
    arXiv:1905.11946, average this way in their released code). Counters are copied, not averaged.
    `module` is the averaged model.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        super().__init__(model, multi_avg_fn=self._blend, use_buffers=True)
        self.decay = decay
        self.requires_grad_(False)
        self.update_parameters(model)  # counts the initial weights, so that the first step is t = 1

    @torch.no_grad()
    def _blend(self, averages: Tensors, currents: Tensors, _: Tensor | int) -> None:
        if not averages[0].is_floating_point():
            for average, current in zip(averages, currents, strict=True):
                average.copy_(current)
            return
        # `n_averaged` stays on the CPU, so that reading it does not wait for the GPU
        decay = warmed_up_decay(self.decay, int(self.n_averaged))
        torch._foreach_lerp_(averages, currents, 1 - decay)
