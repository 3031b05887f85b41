"""Operations that mix an image with another: its grey version, its blurred one, a second image."""

from __future__ import annotations

import torch
from torch import Tensor

_LUMA = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in a grey level (ITU-R BT.601)."""


def grey_levels(images: Tensor) -> Tensor:
    """Whole grey levels of (B, 1 or 3, H, W) uint8 images as (B, H, W) float32."""
    if images.shape[1] == 1:
        return images[:, 0].float()
    red, green, blue = images.unbind(1)
    grey = (red * _LUMA[0]).add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])
    return grey.floor_()


def saturate(images: Tensor, factor: Tensor) -> Tensor:
    """Move each pixel from its grey level (factor above 1) or towards it; grey images stay.

    Args:
        images: (B, C, H, W) uint8.
        factor: (B,) float64.
    """
    if images.shape[1] == 1:
        return images
    return blend(grey_levels(images).unsqueeze(1), images, factor)


def sharpen(images: Tensor, factor: Tensor) -> Tensor:
    """Move each pixel from its neighbourhood's mean (factor above 1) or towards it.

    The mean weighs the pixel itself 5 and its eight neighbours 1 each; the border stays as it is,
    and so does an image of two pixels or fewer to a side.

    Args:
        images: (B, C, H, W) uint8.
        factor: (B,) float64.
    """
    if min(images.shape[-2:]) <= 2:
        return images
    centre = images[..., 1:-1, 1:-1].float()
    towards_mean = (1 - factor).float().view(-1, 1, 1, 1).to(images.device)
    moved = torch.addcmul(centre, _neighbourhood_mean(images) - centre, towards_mean)
    result = images.clone()
    result[..., 1:-1, 1:-1] = as_pixels(moved.clamp_(0, 255))
    return result


def _neighbourhood_mean(images: Tensor) -> Tensor:
    """(B, C, H-2, W-2) float32, rounded to whole levels.

    Sums of shifted whole numbers rather than a convolution: exact, and 20 times as fast on a CPU.
    """
    values = images.to(torch.int16)
    rows = values[..., :-2, :] + values[..., 1:-1, :] + values[..., 2:, :]
    box = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    weighted = box + 4 * values[..., 1:-1, 1:-1]
    return (weighted.float() / 13).round_()


def blend(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """(1 - weight)·first + weight·second, cut to [0, 255], fractions dropped.

    The product is rounded once, as torchvision's kernels do; where the exact result is whole, a
    last bit may still decide between it and the level below.

    Args:
        first: (B, 1 or C, H, W) of any number type.
        second: (B, C, H, W) of any number type.
        weight: (B,) float64; below 0 and above 1 extrapolates.

    Returns:
        (B, C, H, W) uint8.
    """
    device = second.device
    of_second = weight.float().view(-1, 1, 1, 1).to(device)
    of_first = (1 - weight).float().view(-1, 1, 1, 1).to(device)
    mixed = torch.addcmul(second * of_second, first.float(), of_first)
    return as_pixels(mixed.clamp_(0, 255))


def as_pixels(values: Tensor) -> Tensor:
    """Values within 0 and 255 as uint8, fractions dropped."""
    return values.to(torch.int16).to(torch.uint8)  # 2.5 times as fast on a CPU as in one go
