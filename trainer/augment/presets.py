"""Published policies by name. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from trainer.augment.levels import policy_from_levels
from trainer.augment.ops import OPS, REFERENCE_SIDE
from trainer.augment.policy import (
    AnyPolicy,
    ColorPipeline,
    Operation,
    Policy,
    RandomPolicy,
    SubPolicy,
    Uniform,
)
from trainer.augment.published import CIFAR10, IMAGENET, SVHN, V0
from trainer.errors import ConfigError, unknown_value


def autoaugment_imagenet(*, mapping: str = "autoaugment") -> Policy:
    """The paper's ImageNet policy, its levels read as the mapping has them."""
    return policy_from_levels(IMAGENET, name="autoaugment-imagenet", mapping=mapping)


def autoaugment_cifar10(*, mapping: str = "autoaugment") -> Policy:
    """The paper's CIFAR-10 policy, its levels read as the mapping has them."""
    return policy_from_levels(CIFAR10, name="autoaugment-cifar10", mapping=mapping)


def autoaugment_svhn(*, mapping: str = "autoaugment") -> Policy:
    """The paper's SVHN policy, its levels read as the mapping has them."""
    return policy_from_levels(SVHN, name="autoaugment-svhn", mapping=mapping)


def autoaugment_v0(*, mapping: str = "tpu") -> Policy:
    """EfficientNet's policy as its code applies it: posterize at level 2 keeps no bit (a black
    image).

    The mapping must know `SolarizeAdd`: `tpu` or `timm`.
    """
    return policy_from_levels(V0, name="autoaugment-v0", mapping=mapping)


RANDAUGMENT_TOP: Final = 30
"""The highest level of `randaugment`."""

_RANDAUGMENT_ENDS: Final[Mapping[str, tuple[float, float] | None]] = {
    "identity": None,
    "autocontrast": None,
    "equalize": None,
    "rotate": (0, 30),
    "solarize": (256, 0),
    "color": (1, 1.9),
    "posterize": (8, 4),
    "contrast": (1, 1.9),
    "brightness": (1, 1.9),
    "sharpness": (1, 1.9),
    "shear-x": (0, 0.3),
    "shear-y": (0, 0.3),
    "translate-x": (0, 150 / REFERENCE_SIDE),
    "translate-y": (0, 150 / REFERENCE_SIDE),
}
"""The fourteen operations with their weakest and strongest magnitudes."""


def randaugment(*, num_ops: int = 2, magnitude: float = 9) -> RandomPolicy:
    """`num_ops` of fourteen operations, all at one level of 30 (Cubuk 2020, arXiv:1909.13719).

    Magnitudes grow with the level from no change to the end of AutoAugment's range, in both
    directions where there are two.

    Raises:
        ConfigError: the level is not within 0 and 30.
    """
    if not 0 <= magnitude <= RANDAUGMENT_TOP:
        raise ConfigError(
            f"randaugment: magnitude must be within 0 and {RANDAUGMENT_TOP}, got {magnitude:g}"
        )
    share = magnitude / RANDAUGMENT_TOP
    return RandomPolicy(
        name="randaugment",
        num_ops=num_ops,
        operations=tuple(_between(op, ends, share) for op, ends in _RANDAUGMENT_ENDS.items()),
    )


def _between(op: str, ends: tuple[float, float] | None, share: float) -> Operation:
    if ends is None:
        return Operation(name=op)
    value, meaning = ends[0] + (ends[1] - ends[0]) * share, OPS[op].magnitude
    assert meaning is not None
    return Operation(
        name=op,
        magnitude=round(value) if meaning.whole else value,
        mirrored=meaning.neutral is not None,
    )


def trivialaugment(*, side: int = 224) -> RandomPolicy:
    """One operation at one of 31 even magnitudes of the wide space (Müller & Hutter 2021,
    arXiv:2103.10158).

    Args:
        side: Side of the training images in pixels; the paper's translations go to 32 pixels
            whatever the image.

    Raises:
        ConfigError: the side is below 32 pixels.
    """
    if side < 32:
        raise ConfigError(f"trivialaugment: side must be at least 32 px, got {side}")
    shift = 32 / side
    ends: dict[str, tuple[float, float]] = {
        "shear-x": (0, 0.99),
        "shear-y": (0, 0.99),
        "translate-x": (0, shift),
        "translate-y": (0, shift),
        "rotate": (0, 135),
        "brightness": (1, 1.99),
        "color": (1, 1.99),
        "contrast": (1, 1.99),
        "sharpness": (1, 1.99),
        "posterize": (2, 8),
        "solarize": (0, 256),
    }
    plain = tuple(Operation(name=name) for name in ("identity", "autocontrast", "equalize"))
    ranged = tuple(
        Operation(
            name=name,
            magnitude=Uniform(low=low, high=high, bins=31),
            mirrored=name not in ("posterize", "solarize"),
        )
        for name, (low, high) in ends.items()
    )
    return RandomPolicy(name="trivialaugment", operations=plain + ranged)


def cutout(*, fraction: float = 0.5) -> Policy:
    """A grey square on every image, its centre anywhere (DeVries & Taylor 2017, arXiv:1708.04552).

    Args:
        fraction: Side of the square over the image's; 0.5 is CIFAR-10's 16 of 32 pixels.
    """
    return _single("cutout", Operation(name="cutout", magnitude=fraction))


def sample_pairing(*, weight: float = 0.5, probability: float = 0.8) -> Policy:
    """Images averaged with another of the batch, the label kept (Inoue 2018, arXiv:1801.02929).

    The paper mixes every image in 8 epochs of 10 and none in the others, nor in the first and last
    ones; a policy knows no epochs, so here every image is mixed with probability 0.8.
    """
    return _single(
        "sample-pairing",
        Operation(name="sample-pairing", probability=probability, magnitude=weight),
    )


def _single(name: str, operation: Operation) -> Policy:
    return Policy(name=name, sub_policies=(SubPolicy(operations=(operation,)),))


def bag_of_tricks_color() -> ColorPipeline:
    """The colour part of the Bag-of-Tricks baseline (He 2018, arXiv:1812.01187, §2.1)."""
    return ColorPipeline(name="bag-of-tricks-color")


PRESETS: Final[Mapping[str, Callable[[], AnyPolicy]]] = {
    "autoaugment-imagenet": autoaugment_imagenet,
    "autoaugment-cifar10": autoaugment_cifar10,
    "autoaugment-svhn": autoaugment_svhn,
    "autoaugment-v0": autoaugment_v0,
    "randaugment": randaugment,
    "trivialaugment": trivialaugment,
    "cutout": cutout,
    "sample-pairing": sample_pairing,
    "bag-of-tricks-color": bag_of_tricks_color,
}
"""The policies that can be asked for by name, at their published settings."""


def preset(name: str) -> AnyPolicy:
    """The published policy of that name.

    Raises:
        ConfigError: there is none; the message lists those there are.
    """
    if name not in PRESETS:
        raise unknown_value("policy: preset", name, PRESETS)
    return PRESETS[name]()
