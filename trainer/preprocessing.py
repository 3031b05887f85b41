"""How a test image is prepared; an accuracy says little without it. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainer.config import Strict
from trainer.data.defaults import resized_side


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing(Strict):
    """Shorter-side resize and centre crop at a resolution."""

    resolution: int
    """Side of the square that the network sees, in pixels."""
    short_side: int
    """What the image's shorter side is resized to, before the centre is cut out."""
    crop_fraction: float
    """resolution / short_side, before rounding."""
    interpolation: Literal["bilinear, antialiased"] = "bilinear, antialiased"


def preprocessing(resolution: int, *, crop_fraction: float) -> Preprocessing:
    """Shorter-side resize and centre crop at a resolution."""
    return Preprocessing(
        resolution=resolution,
        short_side=resized_side(resolution, crop_fraction),
        crop_fraction=crop_fraction,
    )
