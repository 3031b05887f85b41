"""The network that tricks are tried on, by name or as suits the data set. Loads no torch."""

from __future__ import annotations

from fractions import Fraction

from orchestrator.suited import LARGEST_RESOLUTION
from trainer.config import EfficientNetConfig, ResNetConfig
from trainer.data.decoded import DecodedSet
from trainer.data.defaults import SMALL_SIDE
from trainer.data.sources import DIGITS
from trainer.errors import unknown_value
from trainer.models.baselines import BASELINES, baseline
from trainer.models.resnets import RESNETS, named_resnet
from trainer.models.rounding import Number

_WIDTHS = {DIGITS: Fraction(1, 2)}
"""Of the network that suits; so that a ladder on the digits takes minutes."""


def network(
    name: str, *, num_classes: int, resolution: int | None = None, width: Number = 1
) -> ResNetConfig | EfficientNetConfig:
    """A residual network or a baseline for scaling, its channels times `width`.

    Raises: ConfigError.
    """
    if name in RESNETS:
        return named_resnet(name, num_classes=num_classes, resolution=resolution, width=width)
    if name in BASELINES:
        return baseline(name, num_classes=num_classes, resolution=resolution, width=width)
    raise unknown_value("network", name, [*RESNETS, *BASELINES])


def suited_network(
    dataset: str, decoded: DecodedSet, *, resolution: int | None, width: Number | None
) -> tuple[str, int, Number]:
    """ResNet-20 at 32 px for small images, ResNet-18 for others at a multiple of 32 up to 224.

    Returns: Name, resolution and width, as `network` takes them, if nothing else is asked for.
    """
    side = decoded.typical_short_side
    small = side < SMALL_SIDE
    usual = 32 if small else min(side // 32 * 32, LARGEST_RESOLUTION)
    suits = _WIDTHS.get(dataset, 1) if width is None else width
    return "resnet-20" if small else "resnet-18", resolution or usual, suits
