"""The two tables of network sizes: the published one and the one that follows from α, β, γ.

They are never mixed: the published B1…B7 were picked by hand, and no whole φ gives them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias, get_args

from search_spaces.compound_scaling import (
    Baseline,
    FamilyMember,
    ScalingCoefficients,
    channels,
    family,
    repeats,
)
from search_spaces.published import PUBLISHED, published_family
from search_spaces.single_axis import nearest_in_cost
from trainer.complexity import Complexity, count
from trainer.config import EfficientNetConfig, Strict, require
from trainer.errors import ConfigError, unknown_value
from trainer.models.rounding import exact

Mode: TypeAlias = Literal["compound", "depth", "width", "resolution"]
MODES: tuple[Mode, ...] = get_args(Mode)

STOCHASTIC_DEPTH = 0.2
"""Of every published size (the released code's survival probability is 0.8)."""
MOST_PHIS = 100
LARGEST_PHI = 20
"""At (1.2, 1.1, 1.15) a million times the baseline's cost."""

_DECIMALS = 4
"""Of a φ, so that no two read alike in a name."""
_COSTLIEST = 10**18
"""Multiply-adds of one image."""
_RANGE = re.compile(r"(\d+)-(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size(Strict):
    """One row of a table."""

    name: str
    mode: Mode | Literal["published", "given", "from-nothing"]
    phi: float | None
    """None for sizes that no φ gives."""
    depth: Fraction
    """Relative to the baseline."""
    width: Fraction
    """Relative to the baseline."""
    config: EfficientNetConfig
    cost: Complexity
    macs_ratio: float
    """Multiply-adds relative to the baseline's."""
    target_ratio: float | None = None
    """F^φ, F being the ratio at φ = 1; None for the published sizes."""
    beside: str = ""
    """The compound size whose cost was to be met; itself, for a compound one."""
    distance: float | None = None
    """Multiply-adds relative to those of that size, less 1."""

    def to_json(self) -> dict[str, Any]:
        """The row."""
        return {
            "name": self.name,
            "mode": self.mode,
            "phi": self.phi,
            "depth": float(self.depth),
            "width": float(self.width),
            "resolution": self.config.resolution,
            "dropout": self.config.dropout,
            "stochastic_depth": self.config.stochastic_depth,
            "channels": list(channels(self.config)),
            "repeats": list(repeats(self.config)),
            "params": self.cost.params,
            "macs": self.cost.macs,
            "activations": self.cost.activations,
            "macs_ratio": self.macs_ratio,
            "target_ratio": self.target_ratio,
            "beside": self.beside or None,
            "distance": self.distance,
        }


def published_sizes(names: Sequence[str] = tuple(PUBLISHED), *, num_classes: int) -> list[Size]:
    """The published sizes of these names, in the order of the table, with their own dropout."""
    return [
        Size(
            name=member.name,
            mode="published",
            phi=None,
            depth=member.depth,
            width=member.width,
            config=member.config.with_(stochastic_depth=STOCHASTIC_DEPTH),
            cost=member.cost,
            macs_ratio=member.macs_ratio,
        )
        for member in published_family(num_classes=num_classes)
        if member.name in names
    ]


def exact_sizes(
    start: Baseline,
    bases: ScalingCoefficients,
    phis: Sequence[Fraction],
    modes: Sequence[Mode] = ("compound",),
    *,
    resolution_multiple: int = 1,
) -> list[Size]:
    """For each φ the network at (α^φ, β^φ, γ^φ), or single axes grown to the same cost, or both.

    Raises: ConfigError where a resolution falls below the product of the strides, or a network
    costs more than any machine could spend.
    """
    (one,) = family(start, bases, [1])
    members = family(start, bases, phis, resolution_multiple=resolution_multiple)
    return [
        size
        for member in members
        for size in _beside(start, member, modes, one.macs_ratio, resolution_multiple)
    ]


def _beside(
    start: Baseline, member: FamilyMember, modes: Sequence[Mode], promised: float, multiple: int
) -> Iterator[Size]:
    assert member.phi is not None
    require(
        member.cost.macs <= _COSTLIEST,
        f"--phi: {member.name} would cost {member.cost.macs:.1e} multiply-adds an image",
    )
    for mode in modes:
        depth, width, config = member.depth, member.width, member.config
        if mode != "compound":
            alone = nearest_in_cost(start, mode, member.cost.macs, resolution_multiple=multiple)
            depth, width, config = alone.factors.depth, alone.factors.width, alone.config
        cost = count(config)
        yield Size(
            name=member.name if mode == "compound" else f"{member.name} {mode}",
            mode=mode,
            phi=member.phi,
            depth=depth,
            width=width,
            # The axes of one φ differ in their shape alone, so they share what regularises them.
            config=config.with_(
                dropout=usual_dropout(member.phi), stochastic_depth=STOCHASTIC_DEPTH
            ),
            cost=cost,
            macs_ratio=cost.macs / count(start.config).macs,
            target_ratio=promised**member.phi,
            beside=member.name,
            distance=cost.macs / member.cost.macs - 1,
        )


def usual_dropout(phi: float) -> float:
    """0.2 and 0.05 more for each step of φ, at most 0.5.

    The straight line through the published B0, B2, B4 and B6 (B1, B3 and B5 lie 0.05 below it), for
    networks that nobody has published.
    """
    return round(min(0.2 + 0.05 * phi, 0.5), 4)


def parse_phis(text: str) -> tuple[Fraction, ...]:
    """The values of `1-7`, `1,2.5` or `1-3,5`, ascending, each once.

    Raises: ConfigError.
    """
    found: set[Fraction] = set()
    for part in text.split(","):
        found |= set(_phis(part.strip(), text))
    require(bool(found), f"phi: '{text}' names no φ; give numbers such as 1-7 or 1,2.5")
    require(len(found) <= MOST_PHIS, f"phi: '{text}' names more than {MOST_PHIS} sizes")
    return tuple(sorted(found))


def _phis(part: str, text: str) -> Iterator[Fraction]:
    if not part:
        return
    ends = _RANGE.fullmatch(part)
    if ends:
        low, high = int(ends[1]), int(ends[2])
        require(low <= high, f"phi: '{part}' runs backwards; did you mean {high}-{low}?")
        _check_phi(Fraction(low), part)
        _check_phi(Fraction(high), part)
        yield from map(Fraction, range(low, high + 1))
        return
    try:
        value = exact(part)
    except ConfigError:
        raise ConfigError(
            f"phi: '{part}' is no number; give numbers such as 1-7 or 1,2.5"
        ) from None
    _check_phi(value, part)
    yield value


def _check_phi(value: Fraction, part: str) -> None:
    require(value > 0, f"phi: '{part}' must be positive; 0 is the baseline itself")
    require(value <= LARGEST_PHI, f"phi: '{part}' is more than {LARGEST_PHI}")
    whole = (value * 10**_DECIMALS).denominator == 1
    require(whole, f"phi: '{part}' has more than {_DECIMALS} decimals")


def parse_modes(text: str) -> tuple[Mode, ...]:
    """`all`, one of the modes, or several with commas; in the order of the table, each once.

    Raises: ConfigError.
    """
    named = [part.strip() for part in text.split(",")]
    for name in named:
        if name not in (*MODES, "all"):
            raise unknown_value("mode", name, (*MODES, "all"))
    return MODES if "all" in named else tuple(mode for mode in MODES if mode in named)


def parse_published(text: str) -> tuple[str, ...]:
    """Names of published sizes with commas, in the order of the table, each once.

    Raises: ConfigError.
    """
    named = [part.strip().upper() for part in text.split(",")]
    for name in named:
        if name not in PUBLISHED:
            raise unknown_value("members", name, PUBLISHED)
    return tuple(name for name in PUBLISHED if name in named)
