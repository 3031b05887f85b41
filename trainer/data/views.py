"""What part of an image is seen, and how large: crops as numbers, drawn for a batch at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from itertools import starmap
from typing import NamedTuple

import torch
from torch import Tensor

from trainer.config import AugmentConfig
from trainer.data.defaults import resized_side

ATTEMPTS = 10
"""Draws of a random-resized crop before it falls back to a central one, as in torchvision."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Views:
    """For each of B images: cut out a box, resize it, look at it through a square window.

    Integers, (B, 2) each, vertical before horizontal. What lies outside the resized box is black.
    """

    corner: Tensor
    """The box's first row and column in the image."""
    extent: Tensor
    """The box's height and width."""
    resized: Tensor
    """The height and width that the box is resized to."""
    offset: Tensor
    """The window's first row and column in the resized box; negative in the padding."""
    mirrored: Tensor
    """Whether left and right change places, (B,), boolean."""

    def __len__(self) -> int:
        return len(self.corner)

    def __getitem__(self, part: slice) -> Views:
        return self._each(lambda values: values[part])

    def to(self, device: torch.device) -> Views:
        """The same views, on a device."""
        return self._each(lambda values: values.to(device))

    def rows(self) -> Iterator[View]:
        """The views one by one, as plain numbers."""
        names = (field.name for field in fields(self))
        return starmap(View, zip(*(getattr(self, name).tolist() for name in names), strict=True))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Views:
        return Views(**{field.name: change(getattr(self, field.name)) for field in fields(self)})


class View(NamedTuple):
    """One of the `Views`, as plain numbers."""

    corner: list[int]
    extent: list[int]
    resized: list[int]
    offset: list[int]
    mirrored: bool


def training_views(
    sizes: Tensor, *, augment: AugmentConfig, resolution: int, generator: torch.Generator
) -> Views:
    """Views drawn as configured, of images with these heights and widths (B, 2)."""
    if augment.crop == "random-resized":
        corner, extent = random_boxes(
            sizes, scale=augment.scale, ratio=augment.ratio, generator=generator
        )
    else:
        corner, extent = central_squares(sizes)
    offset = torch.zeros_like(corner)
    if augment.crop == "pad":
        padding = resolution // 8
        offset = torch.randint(-padding, padding + 1, corner.shape, generator=generator)
    mirrored = torch.zeros(len(sizes), dtype=torch.bool)
    if augment.flip:
        mirrored = torch.rand(len(sizes), generator=generator) < 0.5
    return Views(
        corner=corner,
        extent=extent,
        resized=torch.full_like(corner, resolution),
        offset=offset,
        mirrored=mirrored,
    )


def evaluation_views(sizes: Tensor, *, resolution: int, crop_fraction: float) -> Views:
    """The centre of images with these heights and widths (B, 2).

    The shorter side, whichever it is, is resized to resolution / crop_fraction, rounded half up;
    the longer one keeps the aspect (rounded down, as torchvision does); the centre is cut out.
    """
    short_side = resized_side(resolution, crop_fraction)
    shortest = sizes.min(dim=1, keepdim=True).values
    resized = sizes * short_side // shortest
    return Views(
        corner=torch.zeros_like(sizes),
        extent=sizes,
        resized=resized,
        offset=torch.round((resized - resolution) / 2).long(),  # half to even, as torchvision does
        mirrored=torch.zeros(len(sizes), dtype=torch.bool),
    )


def random_boxes(
    sizes: Tensor,
    *,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Corners and extents (B, 2) of boxes of random area and aspect.

    The area is a uniform share of the image's, width / height is log-uniform (Szegedy 2014,
    arXiv:1409.4842, §6). Of ten draws the first that fits is taken; if none does, the largest
    central box whose aspect is in range. That is torchvision's rule; it makes small boxes more
    frequent than the uniform share says, since large ones of extreme aspect do not fit.
    """
    shape = (len(sizes), ATTEMPTS)
    area = sizes.prod(dim=1, keepdim=True) * _uniform(shape, *scale, generator)
    low, high = map(math.log, ratio)
    aspect = _uniform(shape, low, high, generator).exp()
    drawn = torch.stack([(area / aspect).sqrt(), (area * aspect).sqrt()], dim=2).round().long()
    fits = ((drawn > 0) & (drawn <= sizes[:, None])).all(dim=2)  # (B, ATTEMPTS)
    first = fits.int().argmax(dim=1)
    chosen = drawn[torch.arange(len(sizes)), first]
    extent = torch.where(fits.any(dim=1, keepdim=True), chosen, _fallback_extent(sizes, ratio))
    room = sizes - extent
    place = torch.rand(sizes.shape, generator=generator, dtype=torch.float64)
    corner = (place * (room + 1)).long()  # below room + 1: place < 1, in double precision
    central = torch.round(room / 2).long()
    return torch.where(fits.any(dim=1, keepdim=True), corner, central), extent


def central_squares(sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Corners and extents (B, 2) of the largest central squares."""
    extent = sizes.min(dim=1, keepdim=True).values.expand(-1, 2)
    return (sizes - extent) // 2, extent


def _fallback_extent(sizes: Tensor, ratio: tuple[float, float]) -> Tensor:
    """The whole image, or as much of it as an aspect within the range leaves."""
    height, width = sizes.double().unbind(dim=1)
    low, high = ratio
    fitted = [torch.minimum(height, width / low), torch.minimum(width, height * high)]
    return torch.stack(fitted, dim=1).round().long().clamp(min=1)


def _uniform(shape: tuple[int, int], low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64) * (high - low) + low
