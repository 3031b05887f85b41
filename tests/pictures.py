"""Small pictures for tests of image operations."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def pictures(batch: int, height: int, width: int, *, channels: int = 3, seed: int = 0) -> Tensor:
    """(B, C, H, W) uint8: in turn noise, a gradient, one flat colour, and two values."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(
        0, 256, (batch, channels, height, width), dtype=torch.uint8, generator=generator
    )
    coarse = torch.rand((batch, channels, 3, 3), generator=generator) * 255
    smooth = functional.interpolate(coarse, size=(height, width), mode="bilinear")
    images[1::4] = smooth[1::4].to(torch.uint8)
    images[2::4] = images[2::4, :, :1, :1]
    images[3::4] = (images[3::4] > 100) * torch.tensor(200, dtype=torch.uint8)
    return images
