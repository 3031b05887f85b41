"""What can be fitted without labels: the map behind the pool, the statistics before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from trainer.config import ExecutionConfig
from trainer.data.batches import Batch
from trainer.evaluate import evaluating
from trainer.fixres.anatomy import dissect, run
from trainer.fixres.parametric import (
    Frechet,
    PooledMap,
    equalising_map,
    fit_frechet,
)
from trainer.precision import autocast

ENOUGH_IMAGES = 4096
"""From so many images, spread over the training split, the few numbers are known well enough."""


class Moments:
    """Count, mean and variance of values that come in parts, in double precision."""

    def __init__(self, *, over: tuple[int, ...]) -> None:
        """Args: the dimensions that sums run over; the others stay apart."""
        self._over = over
        self._count = 0
        self._sum: Tensor | float = 0.0
        self._squares: Tensor | float = 0.0

    def add(self, values: Tensor) -> None:
        """Take in values."""
        exact = values.double()
        total = exact.sum(dim=self._over)
        self._count += values.numel() // total.numel()
        self._sum = self._sum + total
        self._squares = self._squares + exact.square().sum(dim=self._over)

    def mean(self) -> Tensor:
        """Raises: ValueError when nothing was added."""
        if not self._count:
            raise ValueError("nothing to estimate from: there was no batch")
        return torch.as_tensor(self._sum) / self._count

    def variance(self, *, correction: int = 0) -> Tensor:
        """About the mean, over count - correction."""
        spread = torch.as_tensor(self._squares) - self._count * self.mean().square()
        return spread.clamp(min=0) / max(self._count - correction, 1)


Passes = Callable[[int], Iterable[Batch]]
"""From a resolution to batches of the same images at it."""


def fit_map(
    network: nn.Module,
    added: PooledMap,
    batches: Passes,
    *,
    train_resolution: int,
    test_resolution: int,
    execution: ExecutionConfig,
) -> Iterator[int]:
    """Set the map so that pooled values are at the test resolution what they were in training.

    It is set in the end; yields the number of images after each batch.
    """
    anatomy = dissect(network)
    pooled = partial(run, anatomy.links[: anatomy.pool + 1])
    fitted = []
    for resolution in (train_resolution, test_resolution):
        moments = Moments(over=(0, 1, 2, 3))
        yield from _collect(moments, network, pooled, batches(resolution), execution=execution)
        fitted.append(_fitted(moments))
    reference, new = fitted
    added.set(equalising_map(reference, new))


def estimate_statistics(
    network: nn.Module, batches: Iterable[Batch], *, execution: ExecutionConfig
) -> Iterator[int]:
    """Set the statistics of the batch norm before the pool to those of its inputs, exactly.

    Over all images at once rather than as a moving average, so that neither the order of the images
    nor the size of a batch matters. Without such a batch norm nothing is done. They are set in the
    end; yields the number of images after each batch.
    """
    anatomy = dissect(network)
    if anatomy.norm is None:
        return
    norm = anatomy.norm.module
    moments = Moments(over=(0, 2, 3))
    before, inputs = anatomy.links[: anatomy.norm.place], anatomy.norm.inputs
    yield from _collect(
        moments, network, lambda images: inputs(run(before, images)), batches, execution=execution
    )
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(moments.mean())
    norm.running_var.copy_(moments.variance(correction=1))  # as torch keeps it


def _fitted(moments: Moments) -> Frechet:
    deviation = moments.variance().sqrt().item()
    # a network that pools the same everywhere is left to a shift
    return fit_frechet(mean=moments.mean().item(), deviation=deviation or 1.0)


@torch.inference_mode()
def _collect(
    moments: Moments,
    network: nn.Module,
    values: Callable[[Tensor], Tensor],
    batches: Iterable[Batch],
    *,
    execution: ExecutionConfig,
) -> Iterator[int]:
    """Add the values that all images give; yields the number of images after each batch."""
    done = 0
    with evaluating(network):
        for batch in batches:
            with autocast(execution, batch.images.device):
                moments.add(values(batch.images))
            done += len(batch.images)
            yield done
