"""Training images as test images are seen, varied a little (Touvron 2019, arXiv:1906.06423)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from trainer.augment.colors import blend, grey_levels, saturate
from trainer.data.views import Views, evaluation_views
from trainer.fixres.config import FixResConfig

JITTER = 0.05
"""Largest change of brightness, contrast and saturation in v2."""


def centred(config: FixResConfig) -> Callable[[Tensor], Views]:
    """From heights and widths (B, 2) to the views of test images."""
    return partial(
        evaluation_views, resolution=config.test_resolution, crop_fraction=config.crop_fraction
    )


def tuning_views(sizes: Tensor, *, config: FixResConfig, generator: torch.Generator) -> Views:
    """The views of a training image in v1 or v2, of images with these heights and widths (B, 2).

    v2 moves the crop anywhere between the left and the right end of the resized image.
    """
    views = centred(config)(sizes)
    views = replace(views, mirrored=draw_mirrored(len(sizes), config=config, generator=generator))
    if config.augmentation == "v1":
        return views
    spare = views.resized[:, 1] - config.test_resolution  # never negative: the crop fits
    shift = torch.rand(len(sizes), generator=generator, dtype=torch.float64)
    left = (shift * (spare + 1)).long()
    return replace(views, offset=torch.stack([views.offset[:, 0], left], dim=1))


def draw_mirrored(count: int, *, config: FixResConfig, generator: torch.Generator) -> Tensor:
    """Which of so many images change left and right, (B,), boolean."""
    if not config.flip:
        return torch.zeros(count, dtype=torch.bool)
    return torch.rand(count, generator=generator) < 0.5


def jitter(pixels: Tensor, *, generator: torch.Generator) -> Tensor:
    """Brightness, contrast and saturation changed by up to 5 %, each image on its own.

    In this order always, and after the crop, whose mean grey is what the contrast turns about.

    Args:
        pixels: (B, R, R, 3) uint8.
        generator: Source of chance, on the CPU.
    """
    drawn = torch.rand(3, len(pixels), generator=generator, dtype=torch.float64)
    brightness, contrast, saturation = (1 + JITTER * (2 * drawn - 1)).unbind()
    images = pixels.permute(0, 3, 1, 2)
    black = torch.zeros((1, 1, 1, 1), device=pixels.device)
    images = blend(black, images, brightness)
    grey = grey_levels(images).mean(dim=(1, 2)).view(-1, 1, 1, 1)
    images = blend(grey, images, contrast)
    return saturate(images, saturation).permute(0, 2, 3, 1)
