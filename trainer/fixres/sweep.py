"""One trained model at several test resolutions, image by image."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter

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
from trainer.pulse import Beat, Pulse
from trainer.seeding import isolated


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
    images_per_second: float = field(default=0.0, compare=False)
    """Through the network alone, the reading and resizing of images left out."""


Points = tuple[SweepPoint, ...]


def sweep(
    model: nn.Module,
    subset: Subset,
    resolutions: Sequence[int],
    *,
    config: TrainConfig,
    crop_fraction: float,
    device: torch.device,
    should_stop: Callable[[], bool] = lambda: False,
) -> Points | None:
    """The model's scores at each resolution, in that order; None if it was stopped.

    All else is as in `sweeping`.
    """
    steps = sweeping(
        model,
        subset,
        resolutions,
        config=config,
        crop_fraction=crop_fraction,
        device=device,
        should_stop=should_stop,
    )
    return next((item for item in steps if not isinstance(item, Beat)), None)


def sweeping(
    model: nn.Module,
    subset: Subset,
    resolutions: Sequence[int],
    *,
    config: TrainConfig,
    crop_fraction: float,
    device: torch.device,
    should_stop: Callable[[], bool] = lambda: False,
    beat_seconds: float = 5.0,
) -> Generator[Beat | Points, None, None]:
    """Yield the model's scores at each resolution, in that order, all at once; nothing if stopped.

    Before them come signs of life, whose steps are batches at one resolution.

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
        beat_seconds: The longest time between signs of life, but for a batch.

    Raises:
        ConfigError: a resolution below the network's total stride, or none at all.
    """
    require(bool(resolutions), "test_resolution: at least one is needed")
    for resolution in resolutions:
        require_resolution(resolution, total_stride=config.model.total_stride)
    steps = _swept(
        model,
        subset,
        resolutions,
        config=config,
        crop_fraction=crop_fraction,
        device=device,
        should_stop=should_stop,
        pulse=Pulse(beat_seconds),
    )
    yield from isolated(steps, threads=config.execution.threads, device=device)


def _swept(
    model: nn.Module,
    subset: Subset,
    resolutions: Sequence[int],
    *,
    config: TrainConfig,
    crop_fraction: float,
    device: torch.device,
    should_stop: Callable[[], bool],
    pulse: Pulse,
) -> Generator[Beat | Points, None, None]:
    tallies = [Tally(config.model.num_classes) for _ in resolutions]
    clocks = [_Clock(device) for _ in resolutions]
    chunks = _chunks(subset.indices, config.batch_size)
    steps = len(chunks) * len(resolutions)
    with evaluating(model):
        for place, chunk in enumerate(chunks):
            held = _held(subset.decoded, chunk)
            if place + 1 < len(chunks):  # is decoded while the network works on this one
                subset.decoded.images.expect(chunks[place + 1])
            for nth, (resolution, tally) in enumerate(zip(resolutions, tallies, strict=True)):
                if should_stop():
                    return
                batch = _seen(subset, held, chunk, resolution, crop_fraction, config, device)
                with clocks[nth].running(len(chunk)):
                    logits = predict(model, batch.images, execution=config.execution)
                tally.add(logits, batch.labels)
                done = place * len(resolutions) + nth + 1
                yield from pulse.beats(1, done, steps, clocks[nth].rate)
    yield tuple(
        _point(tally, preprocessing(resolution, crop_fraction=crop_fraction), subset, clock.rate)
        for resolution, tally, clock in zip(resolutions, tallies, clocks, strict=True)
    )


class _Clock:
    """Images a second; the first batch, in which memory and kernels are found, does not count
    unless it is the only one."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._laps: list[tuple[int, float]] = []

    @contextmanager
    def running(self, images: int) -> Iterator[None]:
        """Time what so many images take."""
        started = self._now()
        yield
        self._laps.append((images, self._now() - started))

    @property
    def rate(self) -> float:
        """0 before the first batch."""
        laps = self._laps[1:] or self._laps
        seconds = sum(lap for _, lap in laps)
        return sum(images for images, _ in laps) / seconds if seconds else 0.0

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)  # else the time of queueing would be measured
        return perf_counter()


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


def _point(tally: Tally, seen: Preprocessing, subset: Subset, speed: float) -> SweepPoint:
    scores = tally.scores()
    return SweepPoint(
        preprocessing=seen,
        top1=scores.top1,
        top5=scores.top5,
        loss=scores.loss,
        num_images=scores.count,
        correct=scores.packed(),
        enlarged=enlarged_share(subset, seen.short_side),
        images_per_second=speed,
    )


def _chunks(indices: Indices, size: int) -> list[Indices]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]
