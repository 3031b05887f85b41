"""A user's list of tricks, as steps of a ladder. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from orchestrator.ablation.trick import Trick
from orchestrator.ablation.tricks import LONGER, find_trick
from trainer.config import require

_MOST_TRICKS = 64


def parse_tricks(text: str) -> list[list[Trick]]:
    """`a,b+c`: steps with commas, tricks that are added in one step with a plus.

    Raises: ConfigError for an unknown name or one that stands twice.
    """
    steps = [[find_trick(name.strip()) for name in part.split("+")] for part in _parts(text)]
    names = [trick.name for step in steps for trick in step]
    require(bool(names), "tricks: at least one is needed, such as label-smoothing,mixup")
    require(len(names) <= _MOST_TRICKS, f"tricks: {len(names)} are more than {_MOST_TRICKS}")
    for name in names:
        require(names.count(name) == 1, f"tricks: '{name}' stands twice")
    factors = [Fraction(match[1]) for name in names if (match := LONGER.fullmatch(name))]
    require(len(factors) <= 1, "tricks: train longer once, by one factor")
    return steps


def _parts(text: str) -> list[str]:
    parts = [part for part in text.split(",") if part.strip()]
    for part in parts:
        require(
            all(name.strip() for name in part.split("+")),
            f"tricks: a trick is missing beside '+' in '{part.strip()[:40]}'",
        )
        require(
            len(part.split()) <= 1 + 2 * part.count("+") and ";" not in part,
            f"tricks: '{part.strip()[:40]}': separate steps by commas, tricks of one step by +",
        )
    return parts


def taken_places(tricks: Sequence[Trick]) -> list[str]:
    """The tricks in whose place a later one of the list has come."""
    return [
        trick.name
        for number, trick in enumerate(tricks)
        if trick.slot and any(later.slot == trick.slot for later in tricks[number + 1 :])
    ]
