"""Views of images as pixels: bilinear, antialiased, batched.

Cropping, resizing, padding and mirroring are all linear in the pixels and separable, so that a view
is two matrices: `rows @ image @ columns.T`. A whole batch of any crops is then two batched
products, on any device. On the CPU, images beyond a few dozen pixels are faster one by one with
torch's 8-bit resize; the two agree to within two levels of 255, to which the tests hold them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from trainer.data.decoded import DecodedSet, Indices
from trainer.data.views import Views

MATRIX_SIDE = 48
"""Up to this side, in pixels, the products are the faster way on a CPU."""

STACK_BYTES = 2**27
"""Pixels that a GPU is sent at a time; it needs ten times as much to work on them. A batch of large
photographs is resized before it is sent."""

CPU_PART = 64
"""Images of that size that a CPU multiplies at a time."""


def render(
    decoded: DecodedSet, indices: Indices, views: Views, *, resolution: int, device: torch.device
) -> Tensor:
    """What the views show of these images: uint8 (B, R, R, 3) on the device."""
    size = decoded.fixed_size
    if size == (resolution, resolution) and _only_move(views, resolution):
        return shifted(_sent(decoded.images.stack(indices), device), views)
    if not _worth_stacking(decoded, views, resolution=resolution, device=device):
        seen = one_by_one(decoded, indices, views, resolution=resolution)
        return _sent(seen.numpy(), device)
    if size is None:
        stacked, views = _boxes(decoded, indices, views)
    else:
        stacked = decoded.images.stack(indices)
    return resample(_sent(stacked, device), views, resolution=resolution)


def _worth_stacking(
    decoded: DecodedSet, views: Views, *, resolution: int, device: torch.device
) -> bool:
    """Whether the batch is for the products: small images on a CPU, what fits well on a GPU."""
    size = decoded.fixed_size
    if device.type == "cpu":
        return size is not None and max(*size, resolution) <= MATRIX_SIDE
    height, width = size or views.extent.amax(dim=0).tolist()
    return len(views) * height * width * 3 <= STACK_BYTES


def resample(images: Tensor, views: Views, *, resolution: int) -> Tensor:
    """The views (B, R, R, 3) of images (B, H, W, 3), both uint8, by two matrix products."""
    # on a CPU in parts that stay in its cache; a GPU wants all at once
    part = CPU_PART if images.device.type == "cpu" else len(images)
    parts = [
        _products(images[start : start + part], views[start : start + part], resolution)
        for start in range(0, len(images), part)
    ]
    return torch.cat(parts)


def _products(images: Tensor, views: Views, resolution: int) -> Tensor:
    count, height, width, channels = images.shape
    views = views.to(images.device)
    rows = _interpolation(views, 0, source=height, resolution=resolution)  # (B, R, H)
    columns = _interpolation(views, 1, source=width, resolution=resolution)  # (B, R, W)
    columns = torch.where(views.mirrored[:, None, None], columns.flip(1), columns)
    planes = images.permute(0, 3, 1, 2).contiguous().float()  # (B, 3, H, W)
    with torch.autocast(images.device.type, enabled=False):  # bfloat16 cannot tell 255 from 256
        narrowed = planes.flatten(1, 2) @ columns.transpose(1, 2)  # (B, 3·H, R)
        seen = rows[:, None] @ narrowed.view(count, channels, height, resolution)
    levels = seen.round_().clamp_(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous()


def shifted(images: Tensor, views: Views) -> Tensor:
    """The same as `resample` where whole square images only move and mirror: no arithmetic."""
    count, side, _, channels = images.shape
    room = int(views.offset.abs().max())
    padded = F.pad(images, (0, 0, room, room, room, room))
    each, row, column, _ = padded.stride()
    windows = padded.as_strided(  # every square of the right size, without a copy
        (count, 2 * room + 1, 2 * room + 1, side, side * channels), (each, row, column, row, 1)
    )
    top, left = (views.offset + room).to(images.device).unbind(dim=1)
    seen = windows[torch.arange(count, device=images.device), top, left].view_as(images)
    if not views.mirrored.any():
        return seen
    mirrored = views.mirrored.to(images.device)[:, None, None, None]
    return torch.where(mirrored, seen.flip(2), seen)


def one_by_one(decoded: DecodedSet, indices: Indices, views: Views, *, resolution: int) -> Tensor:
    """The views (B, R, R, 3) by torch's 8-bit resize, image after image; on the CPU."""
    seen = []
    for index, (corner, extent, resized, offset, mirrored) in zip(
        indices.tolist(), views.rows(), strict=True
    ):
        box = _box(decoded.images[index], corner, extent).copy()
        window = _window(_resized(torch.from_numpy(box), resized), offset, resolution)
        seen.append(window.flip(1) if mirrored else window)
    return torch.stack(seen)


def _only_move(views: Views, resolution: int) -> bool:
    """Whether each view is of the whole image, at the size it has."""
    return bool(
        (views.corner == 0).all()
        and (views.extent == resolution).all()
        and (views.resized == resolution).all()
    )


def _interpolation(views: Views, axis: int, *, source: int, resolution: int) -> Tensor:
    """Weights (B, R, source) of source pixels in the window's rows (axis 0) or columns (1).

    A triangle as wide as the larger of a source and a target pixel, normalised over the box alone:
    bilinear interpolation, and its antialiased form where the box shrinks.
    """
    corner, extent, resized, offset = (
        part[:, axis, None, None].float()
        for part in (views.corner, views.extent, views.resized, views.offset)
    )  # (B, 1, 1)
    device = views.corner.device
    place = torch.arange(resolution, device=device)[:, None] + offset  # (B, R, 1)
    step = extent / resized
    pixel = torch.arange(source, device=device) + 0.5 - corner  # (B, 1, source)
    distance = (pixel - (place + 0.5) * step).abs_().div_(step.clamp(min=1))
    weights = distance.neg_().add_(1).clamp_(min=0)
    weights *= (pixel > 0) & (pixel < extent)
    visible = (place >= 0) & (place < resized)
    total = weights.sum(dim=2, keepdim=True).clamp_(min=1e-6)  # none in the padding
    return weights.mul_(visible / total)


def _boxes(decoded: DecodedSet, indices: Indices, views: Views) -> tuple[NDArray[np.uint8], Views]:
    """The boxes of images of different sizes side by side (B, H, W, 3), and the views of those."""
    height, width = views.extent.amax(dim=0).tolist()
    stacked = np.zeros((len(indices), height, width, 3), np.uint8)
    for place, (index, view) in enumerate(zip(indices.tolist(), views.rows(), strict=True)):
        box = _box(decoded.images[index], view.corner, view.extent)
        stacked[place, : box.shape[0], : box.shape[1]] = box
    return stacked, replace(views, corner=torch.zeros_like(views.corner))


def _box(
    image: NDArray[np.uint8], corner: Sequence[int], extent: Sequence[int]
) -> NDArray[np.uint8]:
    (top, left), (height, width) = corner, extent
    return image[top : top + height, left : left + width]


def _resized(image: Tensor, size: list[int]) -> Tensor:
    """(H, W, 3) to another size, 8 bits throughout."""
    if list(image.shape[:2]) == size:
        return image
    planes = image.permute(2, 0, 1)[None]
    scaled = F.interpolate(planes, size=size, mode="bilinear", antialias=True)
    return scaled[0].permute(1, 2, 0)


def _window(image: Tensor, offset: Sequence[int], side: int) -> Tensor:
    """The square (R, R, 3) that begins at the offset, black where it leaves the image."""
    top, left = offset
    height, width, _ = image.shape
    inside = image[max(top, 0) : top + side, max(left, 0) : left + side]
    below, right = max(top + side - height, 0), max(left + side - width, 0)
    if inside.shape[:2] == (side, side):
        return inside
    return F.pad(inside, (0, 0, max(-left, 0), right, max(-top, 0), below))


def _sent(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    tensor = torch.from_numpy(images)
    if device.type == "cuda":  # from pinned memory the copy overlaps with what the GPU still does
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
