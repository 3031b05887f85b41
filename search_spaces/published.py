"""The published EfficientNet sizes and the coefficients they are said to come from."""

from dataclasses import dataclass
from fractions import Fraction

from search_spaces.compound_scaling import FamilyMember, ScalingCoefficients
from trainer.complexity import count
from trainer.config import EfficientNetConfig
from trainer.errors import unknown_value
from trainer.models.baselines import baseline

PUBLISHED_COEFFICIENTS = ScalingCoefficients.of("1.2", "1.1", "1.15")
"""α, β, γ of Tan & Le 2019 (arXiv:1905.11946, §4): αβ²γ² is 1.92, but as built it costs 2.57×."""


@dataclass(frozen=True, slots=True)
class PublishedSize:
    """Factors on EfficientNet-B0, as released."""

    width: Fraction
    depth: Fraction
    resolution: int
    dropout: float


def _size(width: str, depth: str, resolution: int, dropout: float) -> PublishedSize:
    return PublishedSize(Fraction(width), Fraction(depth), resolution, dropout)


PUBLISHED: dict[str, PublishedSize] = {
    # The order of the released table: width, depth, resolution, dropout. Hand-picked: no whole φ
    # gives them, and from B5 on depth stays well below α^φ.
    "B0": _size("1.0", "1.0", 224, 0.2),
    "B1": _size("1.0", "1.1", 240, 0.2),
    "B2": _size("1.1", "1.2", 260, 0.3),
    "B3": _size("1.2", "1.4", 300, 0.3),
    "B4": _size("1.4", "1.8", 380, 0.4),
    "B5": _size("1.6", "2.2", 456, 0.4),
    "B6": _size("1.8", "2.6", 528, 0.5),
    "B7": _size("2.0", "3.1", 600, 0.5),
    "B8": _size("2.2", "3.6", 672, 0.5),
    "L2": _size("4.3", "5.3", 800, 0.5),
}


def published(name: str, *, num_classes: int = 1000) -> EfficientNetConfig:
    """The published network `name`, B0 to B8 or L2.

    Raises: ConfigError for another name.
    """
    size = PUBLISHED.get(name.upper())
    if size is None:
        raise unknown_value("published", name, PUBLISHED)
    return baseline(
        "efficientnet-b0",
        num_classes=num_classes,
        resolution=size.resolution,
        width=size.width,
        depth=size.depth,
    ).with_(dropout=size.dropout)


def published_family(*, num_classes: int = 1000) -> tuple[FamilyMember, ...]:
    """All published sizes as rows of a family table; their ratios are to B0."""
    start_macs = count(published("B0", num_classes=num_classes)).macs
    rows = []
    for name, size in PUBLISHED.items():
        config = published(name, num_classes=num_classes)
        cost = count(config)
        rows.append(
            FamilyMember(
                phi=None,
                name=name,
                depth=size.depth,
                width=size.width,
                cost=cost,
                macs_ratio=cost.macs / start_macs,
                config=config,
            )
        )
    return tuple(rows)
