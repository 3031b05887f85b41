"""One trained model at several test resolutions, image by image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trainer.config import Strict, TrainConfig, require
from trainer.data.batches import Batch, normalise
from trainer.data.decoded import DecodedSet, Images, Indices
from trainer.data.rendering import render
from trainer.data.splits import Subset
from trainer.data.views import evaluation_views
from trainer.evaluate import Tally, evaluating, predict
from trainer.fixres.config import require_resolution
from trainer.preprocessing import Preprocessing, preprocessing
from trainer.seeding import own_threads


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint(Strict):
    """A model's scores at one test resolution."""

    preprocessing: Preprocessing
    top1: float
    """Fraction whose label is the first guess."""
    top5: float
    """Fraction whose label is among the first five."""
    loss: float
    """Mean cross-entropy, without smoothing."""
    num_images: int
    correct: str
    """Which images were answered right, a bit each as in `EpochReport`: all points of a sweep are
    of the same images in the same order, so that two of them can be compared in pairs."""
    enlarged: float
    """Fraction of the images whose shorter side is stored with fewer pixels than it is resized to:
    they bring no detail that a lower resolution would not show."""


def sweep(
    model: nn.Module,
    subset: Subset,
    resolutions: Sequence[int],
    *,
    config: TrainConfig,
    crop_fraction: float,
    device: torch.device,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[SweepPoint, ...] | None:
    """The model's scores at each resolution, in that order; None if it was stopped.

    An image is decoded once for all resolutions. Its shorter side, whichever it is, is resized to
    resolution / crop_fraction, and the centre is shown.

    Args:
        model: On the device; it is evaluated.
        subset: The images.
        resolutions: Sides of the square test image, in pixels.
        config: How the model was trained.
        crop_fraction: The one that the model was evaluated with so far.
        device: Where to compute.
        should_stop: Asked before each batch.

    Raises:
        ConfigError: a resolution below the network's total stride, or none at all.
    """
    require(bool(resolutions), "test_resolution: at least one is needed")
    for resolution in resolutions:
        require_resolution(resolution, total_stride=config.model.total_stride)
    tallies = [Tally(config.model.num_classes) for _ in resolutions]
    with own_threads(config.execution.threads), evaluating(model):
        chunks = _chunks(subset.indices, config.batch_size)
        for place, chunk in enumerate(chunks):
            if should_stop():
                return None
            held = _held(subset.decoded, chunk)
            if place + 1 < len(chunks):  # is decoded while the network works on this one
                subset.decoded.images.expect(chunks[place + 1])
            for resolution, tally in zip(resolutions, tallies, strict=True):
                batch = _seen(subset, held, chunk, resolution, crop_fraction, config, device)
                tally.add(predict(model, batch.images, execution=config.execution), batch.labels)
    return tuple(
        _point(tally, preprocessing(resolution, crop_fraction=crop_fraction), subset)
        for resolution, tally in zip(resolutions, tallies, strict=True)
    )


def enlarged_share(subset: Subset, short_side: int) -> float:
    """The fraction of images whose shorter side has fewer pixels than this."""
    shortest = subset.decoded.sizes[subset.indices].min(axis=1)
    return float((shortest < short_side).mean())


class _Held:
    """A few decoded images in memory, under their numbers."""

    def __init__(self, images: Images, indices: Indices) -> None:
        images.expect(indices)
        self._images = {int(index): images[int(index)] for index in indices}

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self._images[int(index)]

    def stack(self, indices: Indices) -> NDArray[np.uint8]:
        return np.stack([self[index] for index in indices])

    def expect(self, indices: Indices) -> None:
        """They are there."""


def _held(decoded: DecodedSet, chunk: Indices) -> DecodedSet:
    if not decoded.streamed:
        return decoded  # in memory already
    return replace(decoded, images=_Held(decoded.images, chunk))


def _seen(
    subset: Subset,
    held: DecodedSet,
    chunk: Indices,
    resolution: int,
    crop_fraction: float,
    config: TrainConfig,
    device: torch.device,
) -> Batch:
    sizes = torch.from_numpy(held.sizes[chunk].astype(np.int64))
    views = evaluation_views(sizes, resolution=resolution, crop_fraction=crop_fraction)
    pixels = render(held, chunk, views, resolution=resolution, device=device)
    return Batch(
        images=normalise(pixels, subset.statistics, channels_last=config.execution.channels_last),
        labels=torch.from_numpy(held.labels[chunk]).to(device),
    )


def _point(tally: Tally, seen: Preprocessing, subset: Subset) -> SweepPoint:
    scores = tally.scores()
    return SweepPoint(
        preprocessing=seen,
        top1=scores.top1,
        top5=scores.top5,
        loss=scores.loss,
        num_images=scores.count,
        correct=scores.packed(),
        enlarged=enlarged_share(subset, seen.short_side),
    )


def _chunks(indices: Indices, size: int) -> list[Indices]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]
