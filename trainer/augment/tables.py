"""Operations that map each value of a channel to another: tables of 256 entries, looked up once.

Tables are uint8 of shape (B, 1, 256), or (B, C, 256) where the channels differ. A table that knows
its image's other values (equalize, autocontrast, contrast) is measured on the image as it is at
that point.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import torch
from torch import Tensor

from trainer.augment.colors import grey_levels

FixedTable: TypeAlias = Callable[[Tensor], Tensor]
"""(B,) float64 magnitudes on the CPU to (B, 1, 256) uint8 tables there."""
MeasuredTable: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""(B, C, H, W) uint8 images and (B,) float64 magnitudes on the CPU to (B, 1 or C, 256) tables where
the images are."""


def look_up(images: Tensor, tables: Tensor) -> Tensor:
    """Replace each value by its entry in its image's and channel's table.

    Args:
        images: (B, C, H, W) uint8.
        tables: (B, 1 or C, 256) uint8.
    """
    batch, channels = images.shape[:2]
    values = images.reshape(batch, channels, -1).long()  # gather takes no narrower index
    return tables.expand(batch, channels, -1).gather(-1, values).view_as(images)


def then(first: Tensor, second: Tensor) -> Tensor:
    """The table that does what the first does and then the second: (B, C, 256)."""
    channels = max(first.shape[1], second.shape[1])
    first, second = (table.expand(-1, channels, -1) for table in (first, second))
    return second.gather(-1, first.long())


def _levels(like: Tensor) -> Tensor:
    """The 256 values as (1, 1, 256) float32."""
    return torch.arange(256, dtype=torch.float32, device=like.device).view(1, 1, 256)


def _entries(values: Tensor) -> Tensor:
    """Cut to what a pixel can hold, fractions dropped, as torchvision does."""
    return values.clamp(0, 255).to(torch.uint8)


def _per_image(magnitude: Tensor) -> Tensor:
    return magnitude.view(-1, 1, 1)


def _identity(magnitude: Tensor) -> Tensor:
    return _entries(_levels(magnitude)).expand(len(magnitude), 1, 256)


def _invert(magnitude: Tensor) -> Tensor:
    return 255 - _identity(magnitude)


def _solarize(magnitude: Tensor) -> Tensor:
    """Values at or above the threshold inverted; a threshold of 256 changes nothing."""
    levels = _levels(magnitude)
    return _entries(torch.where(levels >= _per_image(magnitude), 255 - levels, levels))


def _solarize_add(magnitude: Tensor) -> Tensor:
    """Values below 128 raised by a whole amount."""
    levels = _levels(magnitude)
    return _entries(torch.where(levels < 128, levels + _per_image(magnitude).floor(), levels))


def _posterize(magnitude: Tensor) -> Tensor:
    """Only the highest bits kept; no bits is black."""
    step = torch.exp2(8 - _per_image(magnitude))
    return _entries((_levels(magnitude) / step).floor() * step)


def _brightness(magnitude: Tensor) -> Tensor:
    return _entries(_levels(magnitude) * _per_image(magnitude).float())


def _contrast(images: Tensor, magnitude: Tensor) -> Tensor:
    """Values moved from (or to) the mean grey level of their image.

    The mean is over the image's own pixels; EfficientNet's released code takes (number of
    pixels)/256.
    """
    mean = grey_levels(images).double().mean((-2, -1)).float()  # sums beyond 2^24 stay exact
    of_value, of_mean = (
        _per_image(share).float().to(images.device) for share in (magnitude, 1 - magnitude)
    )
    return _entries(torch.addcmul(_levels(images) * of_value, _per_image(mean), of_mean))


def _autocontrast(images: Tensor, magnitude: Tensor) -> Tensor:
    """Each channel's darkest value to 0 and brightest to 255; a flat channel stays."""
    values = images.flatten(2)
    low, high = values.amin(-1, keepdim=True).float(), values.amax(-1, keepdim=True).float()
    flat = low == high
    scale = torch.where(flat, 1.0, (high - low) * (1 / 255))
    return _entries((_levels(images) - low.masked_fill(flat, 0)) / scale)


def _equalize(images: Tensor, magnitude: Tensor) -> Tensor:
    """Each channel's histogram made as even as whole steps allow (PIL's rule).

    A channel with too few pixels besides its brightest value's for a step of one stays as it is.
    """
    values = images.flatten(2).long()  # (B, C, H·W)
    counts = values.new_zeros((*values.shape[:2], 256), dtype=torch.int32)
    counts.scatter_add_(-1, values, counts.new_ones(1).expand_as(values))
    total = counts.cumsum(-1, dtype=torch.int32)
    brightest = total.argmax(-1, keepdim=True)  # the first place where the sum is complete
    step = (total[..., -1:] - counts.gather(-1, brightest)) // 255
    below = total - counts
    # Doubles divide exactly here, and several times faster than integers do.
    level = ((below + step // 2).double() / step.clamp(min=1).double()).floor()
    level[..., 0] = 0
    return _entries(torch.where(step > 0, level, _levels(images).double()))


FIXED_TABLES: Final[dict[str, FixedTable]] = {
    "identity": _identity,
    "invert": _invert,
    "solarize": _solarize,
    "solarize-add": _solarize_add,
    "posterize": _posterize,
    "brightness": _brightness,
}
"""Tables that depend on the magnitude alone, so that they can be composed before any image is
read."""

MEASURED_TABLES: Final[dict[str, MeasuredTable]] = {
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "contrast": _contrast,
}
"""Tables that depend on the image."""
