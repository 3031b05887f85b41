"""Hue, saturation and brightness scaled at random, then noise along the colours' principal axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from trainer.augment.colors import as_pixels
from trainer.augment.policy import ColorPipeline

_AXES: Final = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)
"""Principal axes of ImageNet's colours, one a column; rows are red, green, blue (Krizhevsky 2012,
§4.1)."""

_SPREADS: Final = (55.46, 4.794, 1.148)
"""The axes' eigenvalues, for pixels of 0 to 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorDraws:
    """What chance decides for B images, on the CPU."""

    factors: Tensor
    """(B, 3) float64: of hue, saturation, brightness."""
    weights: Tensor
    """(B, 3) float64: of the principal axes."""

    def select(self, rows: slice) -> ColorDraws:
        """The draws of these images alone."""
        return ColorDraws(factors=self.factors[rows], weights=self.weights[rows])


def draw_color(
    pipeline: ColorPipeline, batch: int, generator: torch.Generator | None = None
) -> ColorDraws:
    """Draw the factors evenly and the noise from a normal distribution, for each image anew."""
    device = generator.device if generator is not None else None
    even = torch.empty((batch, 3), dtype=torch.float64, device=device)
    normal = torch.empty_like(even)
    even.uniform_(pipeline.low, pipeline.high, generator=generator)
    normal.normal_(0, pipeline.noise, generator=generator)
    return ColorDraws(factors=even.cpu(), weights=normal.cpu())


def apply_color(images: Tensor, draws: ColorDraws) -> Tensor:
    """Scale hue, saturation and brightness by what was drawn, and add the noise.

    The hue is taken as an angle of -180° to 180° from red before it is scaled, so that the reds on
    either side of 0 stay together; saturation and brightness are cut at their maximum. The result
    is rounded.

    Args:
        images: (B, 3, H, W) uint8.
        draws: For B images.
    """
    factors = draws.factors.float().to(images.device)[..., None, None]  # (B, 3, 1, 1)
    hue, saturation, value = _to_hsv(images.float())
    colors = _to_rgb(
        hue * factors[:, 0],
        (saturation * factors[:, 1]).clamp_(max=1),
        (value * factors[:, 2]).clamp_(max=255),
    )
    axes = torch.tensor(_AXES, dtype=torch.float64) * torch.tensor(_SPREADS)
    noise = (draws.weights @ axes.T).float().to(images.device)[..., None, None]
    return as_pixels(colors.add_(noise).round_().clamp_(0, 255))


def _to_hsv(colors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hue in sixths of the circle from red (-3 to 3), saturation and value, each (B, H, W)."""
    red, green, blue = colors.unbind(1)
    value = colors.amax(1)
    chroma = value - colors.amin(1)
    divisor = chroma.clamp(min=1e-6)  # a grey has no hue: 0 / 1e-6
    is_red = (value == red).float()
    is_green = (value == green).float() * (1 - is_red)
    is_blue = 1 - is_red - is_green
    hue = (
        is_red * ((green - blue) / divisor)
        + is_green * ((blue - red) / divisor + 2)
        + is_blue * ((red - green) / divisor - 2)
    )
    return hue, chroma / value.clamp(min=1e-6), value


def _to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """(B, 3, H, W) colours; each falls short of the value by a trapezoid over the circle of
    hues."""
    chroma = value * saturation
    channels = []
    for middle in (0, 2, -2):  # the hues of red, green and blue
        turn = (hue - middle) / 6
        distance = 6 * (turn - turn.round()).abs_()  # 0 to 3, the short way round
        channels.append(value - chroma * (distance - 1).clamp_(0, 1))
    return torch.stack(channels, dim=1)
