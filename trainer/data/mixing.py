"""Mixtures of two images and of what they show, made in batches on the training device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from trainer.config import MixConfig
from trainer.data.batches import Batch, epoch_generator

Floats = NDArray[np.float64]


class Boxes(NamedTuple):
    """For each of n images a box, in pixels; (n,) each, the ends exclusive."""

    top: Tensor
    bottom: Tensor
    left: Tensor
    right: Tensor


def mixed_batches(
    batches: Iterator[Batch],
    partners: Iterator[Batch] | None,
    config: MixConfig,
    *,
    num_classes: int,
    seed: int,
    epoch: int,
) -> Iterator[Batch]:
    """The batches with each image mixed with one of its own batch, or of the partners' if given.

    What is drawn depends on (seed, epoch, step) alone, and on a stream of its own.
    """
    for step, batch in enumerate(batches):
        partner = _neighbours(batch) if partners is None else next(partners)
        rng = _generator(seed, epoch, step)
        yield mix(batch, partner, config, num_classes=num_classes, rng=rng)


def mix(
    batch: Batch, partner: Batch, config: MixConfig, *, num_classes: int, rng: np.random.Generator
) -> Batch:
    """Both batches mixed image by image, and their labels (B,) as the shares (B, K) of classes.

    A batch whose draw says that it is not to be mixed comes back as it is.
    """
    count = 1 if config.draw == "batch" else len(batch.images)
    shares = draw_shares(config, count, rng=rng)
    if (shares == 1).all():
        return batch
    if config.kind == "mixup":
        first = _on(batch.images, shares)  # (n,)
        images = mixup(batch.images, partner.images, first)
    else:
        height, width = batch.images.shape[2:]
        boxes = draw_boxes(shares, height=height, width=width, rng=rng)
        first = _on(batch.images, uncovered(boxes, height=height, width=width))
        images = cutmix(batch.images, partner.images, boxes)
    labels = torch.lerp(
        one_hot(partner.labels, num_classes).float(),
        one_hot(batch.labels, num_classes).float(),
        first[:, None],
    )
    return Batch(images=images, labels=labels)


def draw_shares(config: MixConfig, count: int, *, rng: np.random.Generator) -> Floats:
    """So many λ from Beta(α, α), the share of the first image (Zhang 2017, arXiv:1710.09412, §2).

    1 for what is not to be mixed.
    """
    shares = rng.beta(config.alpha, config.alpha, size=count)
    return np.where(rng.random(count) < config.probability, shares, 1.0)


def mixup(images: Tensor, partners: Tensor, first: Tensor) -> Tensor:
    """λ of the images (B, C, H, W) and 1 - λ of the partners, with λ (B,) or (1,)."""
    return torch.lerp(images, partners, 1 - first.view(-1, 1, 1, 1))


def draw_boxes(shares: Floats, *, height: int, width: int, rng: np.random.Generator) -> Boxes:
    """Boxes of about 1 - λ of the image's area and of its aspect, centred anywhere in it.

    What reaches over the border is cut off (Yun 2019, arXiv:1905.04899, §3.1), so that the area is
    often a smaller one: see `uncovered`.
    """
    side = np.sqrt(1 - shares)
    top, bottom = _spans(side, height, rng)
    left, right = _spans(side, width, rng)
    return Boxes(*(torch.from_numpy(edge) for edge in (top, bottom, left, right)))


def uncovered(boxes: Boxes, *, height: int, width: int) -> Floats:
    """The share of the image's area (n,) that is outside of its box: λ as it came to be."""
    covered = (boxes.bottom - boxes.top) * (boxes.right - boxes.left)
    return 1 - covered.numpy() / (height * width)


def cutmix(images: Tensor, partners: Tensor, boxes: Boxes) -> Tensor:
    """Images (B, C, H, W) with the partners' pixels within the boxes, of which there are B or 1."""
    height, width = images.shape[2:]
    top, bottom, left, right = (edge.to(images.device)[:, None] for edge in boxes)
    row, column = (torch.arange(side, device=images.device) for side in (height, width))
    rows = (top <= row) & (row < bottom)  # (n, H)
    columns = (left <= column) & (column < right)  # (n, W)
    covered = (rows[:, :, None] & columns[:, None])[:, None]  # (n, 1, H, W)
    # exact at 0 and 1, and laid out as the images are
    return torch.lerp(images, partners, covered.float())


def _spans(
    side: Floats, length: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last + 1 of a part of a line, as long as the share says and centred anywhere."""
    extent = (side * length).astype(np.int64)
    centre = rng.integers(length, size=len(side))
    low = np.clip(centre - extent // 2, 0, length)
    high = np.clip(centre - extent // 2 + extent, 0, length)
    return low, high


def _neighbours(batch: Batch) -> Batch:
    """For each image the next one: in a shuffled batch that is as good as any other."""
    return Batch(images=batch.images.roll(1, 0), labels=batch.labels.roll(1, 0))


def _generator(seed: int, epoch: int, step: int) -> np.random.Generator:
    """numpy's, since torch's does not draw from Beta without its global generator."""
    return np.random.default_rng(epoch_generator(seed, epoch, f"mix {step}").initial_seed())


def _on(images: Tensor, values: Floats) -> Tensor:
    return torch.from_numpy(values).to(images)
