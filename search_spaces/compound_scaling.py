"""Depth, width and resolution grown together (Tan & Le 2019, arXiv:1905.11946)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from trainer.complexity import Complexity, count
from trainer.config import EfficientNetConfig, Strict, require
from trainer.errors import ConfigError
from trainer.models.baselines import BASELINES, baseline
from trainer.models.rounding import Number, exact, round_resolution


@dataclass(frozen=True, slots=True, order=True)
class ScalingCoefficients:
    """Bases or factors of the three axes, exact; ordered by depth, then width, then resolution."""

    depth: Fraction
    """α: factor on the blocks of each stage."""
    width: Fraction
    """β: factor on all channels."""
    resolution: Fraction
    """γ: factor on the side of the image."""

    @classmethod
    def of(cls, depth: Number, width: Number, resolution: Number) -> ScalingCoefficients:
        """From numbers in decimal notation: 1.15 is 23/20."""
        return cls(exact(depth), exact(width), exact(resolution))

    @classmethod
    def parse(cls, text: str) -> ScalingCoefficients:
        """From `α,β,γ` as given to `--coefficients`, each at least 1.

        Raises: ConfigError.
        """
        parts = text.split(",")
        require(
            len(parts) == 3, f"--coefficients: '{text}' must be three numbers, such as 1.2,1.1,1.15"
        )
        values = [exact(part, path="--coefficients") for part in parts]
        require(min(values) >= 1, f"--coefficients: '{text}' must be numbers of at least 1")
        return cls(*values)

    @property
    def flops_factor(self) -> Fraction:
        """αβ²γ², by which the cost would grow if nothing were rounded (eq. 3)."""
        return self.depth * self.width**2 * self.resolution**2

    def power(self, phi: Number) -> ScalingCoefficients:
        """(α^φ, β^φ, γ^φ): exact for whole φ, else through a float."""
        exponent = exact(phi, path="--phi")
        return ScalingCoefficients.of(
            self.depth**exponent, self.width**exponent, self.resolution**exponent
        )

    def to_json(self) -> list[float]:
        """[α, β, γ]."""
        return [float(self.depth), float(self.width), float(self.resolution)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline(Strict):
    """A baseline before its own width and depth are rounded, so that scaling it rounds once.

    At width w₀ and β, stage 1 has 16·w₀·β channels rounded, not 16·w₀ rounded, times β, rounded.
    """

    name: str = "efficientnet-b0"
    num_classes: int = 1000
    resolution: int = 224
    width: Fraction = Fraction(1)
    depth: Fraction = Fraction(1)

    def __post_init__(self) -> None:
        _ = self.config  # whatever is wrong with it is wrong now

    @classmethod
    def of(
        cls,
        name: str,
        *,
        num_classes: int = 1000,
        resolution: int | None = None,
        width: Number = 1,
        depth: Number = 1,
    ) -> Baseline:
        """From numbers in decimal notation; at the network's usual resolution unless given."""
        usual = BASELINES[name].resolution if name in BASELINES else 224
        return cls(
            name=name,
            num_classes=num_classes,
            resolution=usual if resolution is None else resolution,
            width=exact(width, path="baseline.width"),
            depth=exact(depth, path="baseline.depth"),
        )

    @property
    def config(self) -> EfficientNetConfig:
        """The baseline itself as it is built."""
        return baseline(
            self.name,
            num_classes=self.num_classes,
            resolution=self.resolution,
            width=self.width,
            depth=self.depth,
        )

    def to_json(self) -> dict[str, Any]:
        """The `baseline` object of a plan, its cost included."""
        cost = count(self.config)
        return {
            "name": self.name,
            "width": float(self.width),
            "depth": float(self.depth),
            "stem_stride": self.config.stem_stride,
            "resolution": self.resolution,
            "params": cost.params,
            "macs": cost.macs,
        }


def scale(start: Baseline, factors: ScalingCoefficients) -> EfficientNetConfig:
    """The network whose depth, width and resolution are those of `start` times the factors.

    Raises: ConfigError where the resolution falls below the product of the strides.
    """
    return baseline(
        start.name,
        num_classes=start.num_classes,
        resolution=round_resolution(start.resolution, factors.resolution),
        width=start.width * factors.width,
        depth=start.depth * factors.depth,
    )


def channels(config: EfficientNetConfig) -> tuple[int, ...]:
    """Output channels of each stage."""
    return tuple(stage.channels for stage in config.stages)


def repeats(config: EfficientNetConfig) -> tuple[int, ...]:
    """Blocks of each stage."""
    return tuple(stage.repeats for stage in config.stages)


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyMember(Strict):
    """One size of a family of networks."""

    phi: float | None
    """None for the published sizes, which no single φ gives."""
    name: str
    depth: Fraction
    """α^φ, relative to the baseline."""
    width: Fraction
    """β^φ, relative to the baseline."""
    cost: Complexity
    macs_ratio: float
    """Multiply-adds relative to the baseline's."""
    config: EfficientNetConfig

    def to_json(self) -> dict[str, Any]:
        """The row of a `family` table."""
        return {
            "phi": self.phi,
            "name": self.name,
            "depth": float(self.depth),
            "width": float(self.width),
            "resolution": self.config.resolution,
            "channels": list(channels(self.config)),
            "repeats": list(repeats(self.config)),
            "params": self.cost.params,
            "macs": self.cost.macs,
            "macs_ratio": self.macs_ratio,
        }


def family(
    start: Baseline,
    bases: ScalingCoefficients,
    phis: Iterable[Number] = range(1, 8),
    *,
    resolution_multiple: int = 1,
) -> tuple[FamilyMember, ...]:
    """The networks at depth α^φ, width β^φ and resolution γ^φ, named B1, B2, … after φ.

    `resolution_multiple` rounds the sides to a multiple of it (the published ones are hand-picked
    multiples of 4). The published B1…B7 are not these: see `search_spaces.published`.

    Raises: ConfigError for a φ that is no positive number.
    """
    require(resolution_multiple >= 1, "--resolution-multiple must be at least 1")
    start_macs = count(start.config).macs
    return tuple(
        _member(start, bases, exact(phi, path="--phi"), resolution_multiple, start_macs)
        for phi in phis
    )


def _member(
    start: Baseline, bases: ScalingCoefficients, phi: Fraction, multiple: int, start_macs: int
) -> FamilyMember:
    if phi <= 0:
        raise ConfigError(f"--phi: {float(phi):g} must be positive; 0 is the baseline itself")
    factors = bases.power(phi)
    side = round_resolution(start.resolution, factors.resolution, multiple=multiple)
    config = scale(start, factors).with_(resolution=side)
    cost = count(config)
    return FamilyMember(
        phi=float(phi),
        name=f"B{float(phi):g}",
        depth=factors.depth,
        width=factors.width,
        cost=cost,
        macs_ratio=cost.macs / start_macs,
        config=config,
    )
