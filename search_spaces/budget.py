"""Budgets as people write them, and which costs keep to one."""

import re
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from trainer.errors import ConfigError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_NUMBER = r"(?P<number>\d+(?:\.\d+)?)"
_RATIO = re.compile(_NUMBER + r"[x×]", re.IGNORECASE)
_COUNT = re.compile(_NUMBER + r"(?P<unit>[KMGT]?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The whole numbers that a budget allows, ends included."""

    low: int
    high: int

    def __contains__(self, value: object) -> bool:
        return isinstance(value, int) and self.low <= value <= self.high


def window(*, target: Fraction, tolerance: Fraction, unit: int) -> Window:
    """All n with |n/unit - target| <= tolerance, without rounding."""
    return Window(low=ceil((target - tolerance) * unit), high=floor((target + tolerance) * unit))


def parse_budget(text: str, *, baseline_macs: int) -> Fraction:
    """The target cost relative to the baseline: of `2x`, or of multiply-adds like `800M` or `1.2G`.

    Raises: ConfigError for anything else, and for less than the baseline costs.
    """
    stripped = text.strip()
    ratio, absolute = _RATIO.fullmatch(stripped), _COUNT.fullmatch(stripped)
    if ratio:
        target = Fraction(ratio["number"])
    elif absolute and absolute["unit"]:  # a bare 2 is more likely a forgotten x than two operations
        target = Fraction(parse_count(stripped, path="--flops-budget"), baseline_macs)
    else:
        raise ConfigError(
            f"--flops-budget: '{text}' is not a budget; give a multiple of the baseline (2x, 1.8x) "
            "or multiply-adds (800M, 1.2G)"
        )
    if target < 1:
        raise ConfigError(
            f"--flops-budget: '{text}' is {float(target):.3g}x the baseline's "
            f"{short(baseline_macs)} multiply-adds; scaling only grows it, so give at least 1x"
        )
    return target


def parse_count(text: str, *, path: str) -> int:
    """A whole number with an optional unit: `5300000`, `5.3M`.

    Raises: ConfigError naming `path`.
    """
    match = _COUNT.fullmatch(text.strip())
    value = Fraction(match["number"]) * _UNITS[match["unit"].upper()] if match else Fraction(0)
    if value < 1 or value.denominator != 1:
        raise ConfigError(f"{path}: '{text}' is not a positive count such as 5300000 or 5.3M")
    return int(value)


def short(number: int) -> str:
    """The number with a unit, for messages: 385.8M."""
    for unit, size in reversed(_UNITS.items()):
        if number >= size:
            return f"{number / size:.4g}{unit}"
    return str(number)
