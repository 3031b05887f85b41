"""How large an object looks in training and in testing (Touvron 2019, arXiv:1906.06423, §3)."""

from __future__ import annotations

from itertools import accumulate
from math import sqrt

import torch
from torch import Tensor

from trainer.config import AugmentConfig, EfficientNetConfig, ModelConfig, ResNetConfig
from trainer.data.views import central_squares, random_boxes


def expected_side(scale: tuple[float, float]) -> float:
    """E[σ] of a box whose area is a share σ² of the image's, uniform within the scale.

    2/3·(b^1.5 - a^1.5)/(b - a), 0.708 for (0.08, 1). As the paper has it, this ignores that a box
    which does not fit is drawn again; `sampled_ratio` does not.
    """
    low, high = scale
    if low == high:
        return sqrt(low)
    return 2 / 3 * (high * sqrt(high) - low * sqrt(low)) / (high - low)


def expected_ratio(scale: tuple[float, float], *, train_resolution: int, short_side: int) -> float:
    """How large objects of square images look in testing, relative to training.

    E[σ]·short_side/train_resolution, where the test image's shorter side is resized to `short_side`
    before its centre is cut out. Below 1 they look smaller: 0.81 for 256 against 224 px.
    """
    return expected_side(scale) * short_side / train_resolution


def equalising_resolution(
    scale: tuple[float, float], *, train_resolution: int, crop_fraction: float
) -> float:
    """The test resolution in pixels, not rounded, at which `expected_ratio` is 1."""
    return train_resolution * crop_fraction / expected_side(scale)


def sampled_ratio(
    sizes: Tensor,
    augment: AugmentConfig,
    *,
    train_resolution: int,
    short_side: int,
    generator: torch.Generator,
    draws: int = 100_000,
) -> float:
    """The mean of the same ratio over crops drawn from images of these sizes, about `draws` of
    them.

    An image's part of h·w pixels, seen at resolution K in training, shows objects at a scale of
    K/√(h·w), and the whole image in testing at short_side/min(H, W). Some 0.764 for squares and
    0.838 for photographs of 4:3, with the usual crops and 256 against 224 px.

    Args:
        sizes: Heights and widths (N, 2), int64.
        augment: How crops are drawn.
        train_resolution: Side of the training image.
        short_side: What the shorter side of a test image is resized to.
        generator: Source of chance.
        draws: Spread evenly over the images; each gets one at least.
    """
    drawn_from = sizes.repeat(max(draws // len(sizes), 1), 1)
    if augment.crop == "random-resized":
        _, extent = random_boxes(
            drawn_from, scale=augment.scale, ratio=augment.ratio, generator=generator
        )
    else:
        _, extent = central_squares(drawn_from)
    side = extent.double().prod(dim=1).sqrt()
    shortest = drawn_from.min(dim=1).values
    return (side / shortest).mean().item() * short_side / train_resolution


def map_sides(model: ModelConfig, resolution: int) -> tuple[int, ...]:
    """Sides of the maps after the stem and after each stage; the last one is pooled.

    A map of odd side keeps its last row: 7 for 224 px at a total stride of 32, 8 for 225.
    """
    sides = accumulate(_strides(model), lambda side, stride: -(-side // stride), initial=resolution)
    return tuple(sides)[1:]


def _strides(model: ModelConfig) -> tuple[int, ...]:
    if isinstance(model, EfficientNetConfig):
        return (model.stem_stride, *(stage.stride for stage in model.stages))
    if isinstance(model, ResNetConfig):
        return (model.stem_stride, *model.strides)
    return (1, *model.strides)
