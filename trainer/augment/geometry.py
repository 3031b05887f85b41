"""Operations that move pixels: inverse maps sampled at the nearest neighbour, and cutout."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor

_TIE = 1e-4
"""Added to source coordinates (in pixels) so that the exact boundary between two pixels belongs to
the right or lower one on every device, whichever way its last bit falls."""


def _shear_x(slope: Tensor, height: int, width: int) -> Tensor:
    return _inverse_map(b=slope, c=slope * height / 2)  # about the upper left corner


def _shear_y(slope: Tensor, height: int, width: int) -> Tensor:
    return _inverse_map(d=slope, f=slope * width / 2)


def _translate_x(fraction: Tensor, height: int, width: int) -> Tensor:
    return _inverse_map(c=-fraction * width)


def _translate_y(fraction: Tensor, height: int, width: int) -> Tensor:
    return _inverse_map(f=-fraction * height)


def _rotate(degrees: Tensor, height: int, width: int) -> Tensor:
    """Counter-clockwise about the centre."""
    angle = degrees * (math.pi / 180)
    cosine, sine = angle.cos(), angle.sin()
    return _inverse_map(a=cosine, b=-sine, d=sine, e=cosine)


def _inverse_map(**given: Tensor) -> Tensor:
    """(B, 2, 3) float64: x' = a·x + b·y + c, y' = d·x + e·y + f, in pixels from the centre.

    (x', y') is where the output pixel (x, y) comes from.
    """
    like = next(iter(given.values()))
    entries = {"a": 1.0, "b": 0.0, "c": 0.0, "d": 0.0, "e": 1.0, "f": 0.0}
    columns = [given.get(key, torch.full_like(like, value)) for key, value in entries.items()]
    return torch.stack(columns, dim=-1).view(-1, 2, 3)


INVERSE_MAPS: Final[dict[str, Callable[[Tensor, int, int], Tensor]]] = {
    "shear-x": _shear_x,
    "shear-y": _shear_y,
    "translate-x": _translate_x,
    "translate-y": _translate_y,
    "rotate": _rotate,
}
"""(B,) float64 magnitudes, height and width to (B, 2, 3) inverse maps."""


def warp(images: Tensor, inverse: Tensor, fill: Tensor) -> Tensor:
    """Fetch every output pixel from where its map says, the nearest one; outside there is the fill.

    Args:
        images: (B, C, H, W) uint8.
        inverse: (B, 2, 3) from `INVERSE_MAPS`.
        fill: (1, 1 or C, 1, 1) uint8.
    """
    batch, channels, height, width = images.shape
    maps = inverse.float().to(images.device)[..., None, None]  # (B, 2, 3, 1, 1)
    x = _centred(width, images.device).view(1, 1, width)
    y = _centred(height, images.device).view(1, height, 1)
    source_x = maps[:, 0, 0] * x + (maps[:, 0, 1] * y + maps[:, 0, 2] + (width / 2 + _TIE))
    source_y = maps[:, 1, 0] * x + (maps[:, 1, 1] * y + maps[:, 1, 2] + (height / 2 + _TIE))
    # A frame of fill around the image stands for all that is outside: no mask, which costs a CPU
    # more than the look-up itself.
    framed = _framed(images, fill)
    column = source_x.floor_().clamp_(-1, width).to(torch.int32)
    row = source_y.floor_().clamp_(-1, height).to(torch.int32)
    index = (row * (width + 2) + column + (width + 3)).long().view(batch, 1, -1)
    moved = framed.view(batch, channels, -1).gather(-1, index.expand(-1, channels, -1))
    return moved.view_as(images)


def _framed(images: Tensor, fill: Tensor) -> Tensor:
    """(B, C, H + 2, W + 2): one more pixel on each side."""
    batch, channels, height, width = images.shape
    framed = fill.expand(batch, channels, height + 2, width + 2).clone()
    framed[..., 1:-1, 1:-1] = images
    return framed


def _centred(side: int, device: torch.device) -> Tensor:
    """Coordinates of the pixels' middles, from the image's centre."""
    return torch.arange(side, dtype=torch.float32, device=device) - (side - 1) / 2


def cut_out(images: Tensor, fraction: Tensor, place: Tensor, fill: Tensor) -> Tensor:
    """Cover a square whose centre is any pixel; beyond the border it is cut off (arXiv:1708.04552,
    §3.2).

    Args:
        images: (B, C, H, W) uint8.
        fraction: (B,) float64: the square's side over the image's shorter one.
        place: (B, 2) float64 in [0, 1): the centre as a share of height and width.
        fill: (1, 1 or C, 1, 1) uint8.
    """
    height, width = images.shape[-2:]
    side = (fraction * min(height, width)).round()
    rows = _covered(height, side, place[:, 0], images.device)
    columns = _covered(width, side, place[:, 1], images.device)
    covered = (rows.unsqueeze(2) * columns.unsqueeze(1)).unsqueeze(1)  # (B, 1, H, W)
    return images * (1 - covered) + fill * covered


def _covered(length: int, side: Tensor, place: Tensor, device: torch.device) -> Tensor:
    """(B, length) uint8: 1 for the rows or columns that the squares cover."""
    first = (place * length).floor() - (side / 2).floor()
    positions = torch.arange(length, device=device)
    start, end = (bound.long().unsqueeze(1).to(device) for bound in (first, first + side))
    return ((positions >= start) & (positions < end)).to(torch.uint8)
