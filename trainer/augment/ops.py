"""The operations of a policy: what each takes, in which unit and limits. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

Family = Literal["nothing", "table", "affine", "color", "sharpness", "cutout", "pairing"]
"""How an operation is computed on a batch; each family is one kernel (`trainer.augment.apply`)."""

REFERENCE_SIDE: Final = 331
"""Side in pixels of the images on which the paper states its translations and cutouts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Magnitude:
    """What a magnitude means for one operation."""

    unit: str
    low: float
    high: float
    """`low` to `high` is the range searched in the paper, in the order of its table."""
    minimum: float
    maximum: float
    """The limits of what the operation can do; some published policies go beyond the paper's
    range."""
    neutral: float | None = None
    """The value that changes nothing and about which a magnitude may be mirrored; None: it has no
    sign."""
    mirrored: bool = False
    """Whether the paper draws the sign at random."""
    whole: bool = False
    """Only whole numbers are meant; a drawn value is rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One kind of operation."""

    family: Family
    magnitude: Magnitude | None = None
    """None: there is nothing to tell it."""


def _signed(unit: str, high: float, maximum: float) -> Magnitude:
    return Magnitude(
        unit=unit, low=0, high=high, minimum=-maximum, maximum=maximum, neutral=0, mirrored=True
    )


_FACTOR = Magnitude(unit="factor", low=0.1, high=1.9, minimum=0, maximum=2, neutral=1)
_SLOPE = _signed("slope", 0.3, 1)
_SHIFT = _signed("fraction of the side", 150 / REFERENCE_SIDE, 1)

OPS: Final[Mapping[str, Op]] = MappingProxyType(
    {  # the order is the controller's output index: append, never insert
        "shear-x": Op(family="affine", magnitude=_SLOPE),
        "shear-y": Op(family="affine", magnitude=_SLOPE),
        "translate-x": Op(family="affine", magnitude=_SHIFT),
        "translate-y": Op(family="affine", magnitude=_SHIFT),
        "rotate": Op(family="affine", magnitude=_signed("degrees", 30, 180)),
        "autocontrast": Op(family="table"),
        "invert": Op(family="table"),
        "equalize": Op(family="table"),
        "solarize": Op(
            family="table",
            magnitude=Magnitude(unit="threshold", low=0, high=256, minimum=0, maximum=256),
        ),
        "posterize": Op(
            family="table",
            magnitude=Magnitude(unit="bits kept", low=4, high=8, minimum=0, maximum=8, whole=True),
        ),
        "contrast": Op(family="table", magnitude=_FACTOR),
        "color": Op(family="color", magnitude=_FACTOR),
        "brightness": Op(family="table", magnitude=_FACTOR),
        "sharpness": Op(family="sharpness", magnitude=_FACTOR),
        "cutout": Op(
            family="cutout",
            magnitude=Magnitude(
                unit="fraction of the side", low=0, high=60 / REFERENCE_SIDE, minimum=0, maximum=1
            ),
        ),
        "sample-pairing": Op(
            family="pairing",
            magnitude=Magnitude(
                unit="weight of the other image", low=0, high=0.4, minimum=0, maximum=1
            ),
        ),
        # The paper's sixteen end here.
        "identity": Op(family="nothing"),
        "solarize-add": Op(
            family="table",
            magnitude=Magnitude(unit="added below 128", low=0, high=110, minimum=0, maximum=255),
        ),
    }
)
"""Every operation by name: the sixteen of AutoAugment (Cubuk 2019, arXiv:1805.09501, appendix A),
the identity that RandAugment and TrivialAugment draw, and the solarize-add of EfficientNet's
policy."""

PAPER_OPS: Final = tuple(OPS)[:16]
"""The operations searched in the paper; a policy plays the identity by a probability of zero."""
