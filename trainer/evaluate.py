"""A model over a data set -> scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from trainer.config import ExecutionConfig
from trainer.data.batches import Batch
from trainer.precision import autocast

_PLAIN = ExecutionConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How well a model does on a set of images."""

    top1: float
    """Fraction whose label is the first guess."""
    top5: float
    """Fraction whose label is among the first five (or all, if there are fewer classes)."""
    loss: float
    """Mean cross-entropy, without smoothing."""
    recall: tuple[float, ...]
    """Per class; 0 for a class without images."""
    count: int
    """Images looked at."""
    correct: tuple[bool, ...]
    """Per image, in the order of the batches: whether its first guess is right. Two models are
    compared image by image, which needs far fewer of them than comparing two accuracies."""

    def packed(self) -> str:
        """`correct` as hexadecimal, a bit an image, the first the most significant."""
        return np.packbits(self.correct).tobytes().hex()


def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    num_classes: int,
    execution: ExecutionConfig = _PLAIN,
) -> Scores:
    """The model's scores over all batches, whose images lie on the model's device.

    Raises: ValueError when there is no batch.
    """
    tally = Tally(num_classes)
    with evaluating(model):
        for batch in batches:
            tally.add(predict(model, batch.images, execution=execution), batch.labels)
    return tally.scores()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, for the time of the context."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@torch.inference_mode()
def predict(model: nn.Module, images: Tensor, *, execution: ExecutionConfig = _PLAIN) -> Tensor:
    """Logits (B, K) in float32, computed in the configured precision."""
    with autocast(execution, images.device):
        logits: Tensor = model(images)
    return logits.float()


class Tally:
    """Adds up batches of logits; nothing waits for the device before `scores`."""

    def __init__(self, num_classes: int) -> None:
        self._num_classes = num_classes
        self._losses: list[Tensor] = []
        self._hits: list[Tensor] = []
        self._labels: list[Tensor] = []

    @torch.inference_mode()
    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Take in logits (B, K) and the classes (B,) that were meant."""
        guesses = logits.topk(min(5, self._num_classes)).indices  # (B, 5)
        self._hits.append(guesses == labels[:, None])
        self._losses.append(cross_entropy(logits, labels, reduction="none"))
        self._labels.append(labels)

    def scores(self) -> Scores:
        """The scores over everything added. Raises: ValueError when that is nothing."""
        if not self._labels:
            raise ValueError("nothing to evaluate: there was no batch")
        hits = torch.cat(self._hits).cpu()  # (N, 5); waits for the device
        labels = torch.cat(self._labels).cpu()
        first = hits[:, 0]
        images = torch.bincount(labels, minlength=self._num_classes)
        found = torch.bincount(labels[first], minlength=self._num_classes)
        return Scores(
            top1=first.sum().item() / len(first),
            top5=hits.any(dim=1).sum().item() / len(first),
            loss=torch.cat(self._losses).cpu().double().mean().item(),
            recall=tuple((found / images.clamp(min=1)).double().tolist()),
            count=len(first),
            correct=tuple(first.tolist()),
        )
