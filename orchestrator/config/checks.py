"""What no option may say, whatever it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from trainer.config import require
from trainer.errors import ConfigError
from trainer.models.rounding import exact

_MOST = 1_000_000
"""No count of epochs, workers, classes … can be meant that is larger."""
_LONGEST = 24
"""No number can be meant that has more characters."""


def check_count(name: str, value: int | None, *, least: int) -> None:
    """Refuse what cannot be a count of anything here; None is left to a default."""
    if value is not None and not least <= value <= _MOST:
        raise ConfigError(
            f"{name} must be between {least} and {_MOST:,}, got {shortened(str(value))}"
        )


def check_short(name: str, text: str) -> None:
    """Refuse a number of absurd length before anything tries to compute with it."""
    require(len(text) <= _LONGEST, f"{name}: '{shortened(text)}' is too long for a number")


def check_decimal(name: str, text: str, *, least: int, most: int) -> Fraction:
    """The exact value of a decimal between two bounds, ends included."""
    check_short(name, text)
    value = exact(text, path=name)
    require(least <= value <= most, f"{name} must be between {least} and {most}, got {text}")
    return value


def check_text(name: str, text: str | None) -> None:
    """Refuse what cannot be written down."""
    if text is not None:
        require(bool(text), f"{name} must not be empty")
        # The journal is UTF-8; a file name in another encoding would not come back from it.
        require(
            "\0" not in text and text == text.encode(errors="replace").decode(),
            f"{name}: {text!a} is not UTF-8 text",
        )


def refuse_elsewhere(overlay: Mapping[str, Any], owned: Mapping[str, str]) -> None:
    """Refuse keys of the training overlay that another option decides."""
    for path in _paths(overlay):
        for key, option in owned.items():
            if path == key or path.startswith(f"{key}."):
                raise ConfigError(f"train.{path}: this is decided by --{option.replace('_', '-')}")


def _paths(overlay: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in overlay.items():
        if isinstance(value, Mapping) and value:
            yield from _paths(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def shortened(text: str) -> str:
    """The beginning of what is too long to be repeated."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
