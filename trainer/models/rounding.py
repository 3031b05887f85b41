"""How scaled depths, widths and resolutions become whole numbers, exactly. Loads no torch.

Floats would decide at the edges by their own rounding: 1.1·10 is 11.000000000000002, whose ceiling
is 12.
"""

import re
from fractions import Fraction

from trainer.errors import ConfigError

Number = int | float | str | Fraction
"""A number as people write it; what matters is its decimal notation."""

_DECIMAL = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d{1,3})?")
_DIVISOR = 8


def exact(value: Number, *, path: str = "number") -> Fraction:
    """The number as it is written: 0.1 is 1/10, not the binary fraction next to it.

    Raises: ConfigError naming `path`, for anything that is not a finite decimal.
    """
    if isinstance(value, Fraction):
        return value
    text = str(value).strip()
    if not _DECIMAL.fullmatch(text):
        raise ConfigError(f"{path}: '{value}' is not a decimal number such as 1.05")
    return Fraction(text)


def round_width(channels: int, width: Number) -> int:
    """Channels times `width`, to the nearest multiple of 8 that keeps at least 90 % of them.

    The rule of the released EfficientNets; at least 8, halves go up.
    """
    factor = exact(width)
    wanted, unit = channels * factor.numerator, factor.denominator  # wanted/unit channels
    rounded = max(_DIVISOR, (2 * wanted + _DIVISOR * unit) // (2 * _DIVISOR * unit) * _DIVISOR)
    return rounded + _DIVISOR if 10 * rounded * unit < 9 * wanted else rounded


def round_depth(repeats: int, depth: Number) -> int:
    """Blocks of a stage times `depth`, rounded up (the rule of the released EfficientNets)."""
    factor = exact(depth)
    return -(-repeats * factor.numerator // factor.denominator)


def round_resolution(resolution: int, factor: Number, *, multiple: int = 1) -> int:
    """The side in pixels times `factor`, to the nearest `multiple`; halves go up."""
    scaled = exact(factor) * resolution / multiple
    return multiple * ((2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator))
