"""What suits a data set where the user does not say: mirroring, crops, the evaluation crop."""

from __future__ import annotations

from trainer.config import AugmentConfig

SMALL_SIDE = 64
"""Below this usual short side, in pixels, images are crops already rather than photographs."""

NOT_MIRRORED = frozenset({"digits", "mnist", "kmnist", "usps", "svhn", "gtsrb"})
"""Named sets where a mirrored image may mean something else, or nothing."""


def default_augment(dataset: str, *, typical_short_side: int) -> AugmentConfig:
    """Padded crops for small images, random-resized ones for photographs; mirrored where safe."""
    small = typical_short_side < SMALL_SIDE
    return AugmentConfig(
        crop="pad" if small else "random-resized", flip=dataset not in NOT_MIRRORED
    )


def default_crop_fraction(typical_short_side: int) -> float:
    """The side of the evaluation crop as a part of the resized image's shorter side.

    0.875 (224 of 256 px) for photographs, whose subject is in the middle; 1 for small images, which
    have nothing to spare.
    """
    return 1.0 if typical_short_side < SMALL_SIDE else 0.875


def resized_side(resolution: int, crop_fraction: float) -> int:
    """What an image's shorter side is resized to, so that the crop is such a part of it.

    Rounded half up: 256 px for 224, 366 for 320.
    """
    return int(resolution / crop_fraction + 0.5)
