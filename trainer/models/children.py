"""The networks that augmentation policies are searched with, by name. Loads no torch.

A child model is the small network that scores a policy (Cubuk 2019, arXiv:1805.09501, §3).
"""

import re
from fractions import Fraction

from trainer.config import ModelConfig, WideResNetConfig, require
from trainer.errors import unknown_value
from trainer.models.baselines import BASELINES, baseline
from trainer.models.rounding import Number, exact

CHILDREN = (
    "wrn-40-2",  # of AutoAugment, Fast AutoAugment and PBA
    "wrn-28-10",  # the one their policies are judged with
    "wrn-10-0.5",  # for a CPU
    *BASELINES,
)
"""Names to choose from; `wrn-D-W` stands for a wide residual network of any depth and width."""

_WIDE_RESNET = re.compile(r"wrn-([0-9]{1,4})-([0-9]{1,3}(?:\.[0-9]{1,4})?)")


def child(name: str, *, num_classes: int, resolution: int, width: Number = 1) -> ModelConfig:
    """The named network, with its channels times `width`.

    `wrn-D-W` has D layers and groups of 16·W, 32·W and 64·W channels; W may be a decimal such as
    0.5. W·width goes in quarters, so that channels are multiples of 4. The stem has 16 channels, or
    as many as the first group if that has fewer.

    Raises: ConfigError for an unknown name, a depth that is not 6n + 4, a width that cannot be
    built, or a resolution below the product of the strides.
    """
    if match := _WIDE_RESNET.fullmatch(name):
        factor = exact(match[2]) * exact(width, path="child.width")
        channels = _group_channels(name, factor)
        return WideResNetConfig(
            depth=int(match[1]),
            channels=channels,
            stem_channels=min(16, channels[0]),
            num_classes=num_classes,
            resolution=resolution,
        )
    if name not in BASELINES:
        raise unknown_value("child", name, CHILDREN)
    return baseline(name, num_classes=num_classes, resolution=resolution, width=width)


def _group_channels(name: str, factor: Fraction) -> tuple[int, int, int]:
    quarters = 4 * factor
    require(
        quarters > 0 and quarters.denominator == 1,
        f"child '{name}': the width must be a positive multiple of 0.25, got {float(factor):g}",
    )
    narrowest = 4 * int(quarters)
    return (narrowest, 2 * narrowest, 4 * narrowest)
