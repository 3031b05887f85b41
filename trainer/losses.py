"""What training minimises."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import fsum, isfinite

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from trainer.config import DistillationConfig, TrainConfig
from trainer.data.batches import Batch
from trainer.errors import TrainingDiverged

Loss = Callable[[Tensor, Batch], Tensor]
"""(logits (B, K), batch) -> the mean over the batch."""


def build_loss(config: TrainConfig) -> Loss:
    """The loss of a configuration; with a teacher the batches must bring its answers."""
    own = partial(smoothed_cross_entropy, smoothing=config.label_smoothing)
    if config.distillation is None:
        return own
    return partial(_with_teacher, own=own, config=config.distillation)


def _with_teacher(logits: Tensor, batch: Batch, *, own: Loss, config: DistillationConfig) -> Tensor:
    assert batch.teacher is not None
    soft = imitation(logits, batch.teacher, temperature=config.temperature)
    scale = config.temperature**2 if config.t_squared else 1.0
    return own(logits, batch) + config.weight * scale * soft


def imitation(logits: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """CE(z/T, softmax(v/T)) for a student's logits z (B, K) and a teacher's v, the batch's mean.

    Its gradient is that of the Kullback-Leibler divergence, from which it differs by the entropy of
    the teacher's answers, and shrinks with 1/T² (Hinton 2015, arXiv:1503.02531, §2).
    """
    answers = (teacher / temperature).softmax(dim=1)
    return cross_entropy(logits.float() / temperature, answers)


def smoothed_cross_entropy(logits: Tensor, batch: Batch, *, smoothing: float) -> Tensor:
    """Cross-entropy with labels moved towards uniform (Szegedy 2015, arXiv:1512.00567, §7).

    Labels are classes (B,) or, once images are mixed, probabilities (B, K); the latter come
    unsmoothed, since they are smoothed here. A class gets 1 - ε + ε/K and the others ε/K; He 2018
    (arXiv:1812.01187, eq. 3) writes 1 - ε and ε/(K - 1), the same family under another ε.
    """
    return cross_entropy(logits.float(), batch.labels, label_smoothing=smoothing)


class EpochLosses:
    """The losses of an epoch's steps, looked at as seldom as the device makes it worthwhile."""

    def __init__(self, *, epoch: int, device: torch.device) -> None:
        self._epoch = epoch
        self._look_every = 1 if device.type == "cpu" else 50  # each look waits for the device
        self._pending: list[Tensor] = []
        self._values: list[float] = []
        self._sizes: list[int] = []
        self.images = 0
        """Images trained on so far."""

    def add(self, loss: Tensor, *, images: int) -> None:
        """Take in the mean loss of a step. Raises: TrainingDiverged, perhaps steps later."""
        self._pending.append(loss.detach())
        self._sizes.append(images)
        self.images += images
        if len(self._pending) >= self._look_every:
            self._look()

    def mean(self) -> float:
        """The mean over all images. Raises: TrainingDiverged when a loss is not finite."""
        self._look()
        total = fsum(loss * images for loss, images in zip(self._values, self._sizes, strict=True))
        return total / self.images

    def _look(self) -> None:
        if not self._pending:
            return
        for loss in torch.stack(self._pending).tolist():
            self._values.append(loss)
            if not isfinite(loss):
                raise TrainingDiverged(epoch=self._epoch, step=len(self._values), loss=loss)
        self._pending.clear()
