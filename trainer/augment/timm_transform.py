"""An augmentation policy made of timm's operations, for PIL images.

Needs timm (made with 1.0) and Pillow, and nothing else. A policy is plain values: timm's names,
probabilities, and the levels at which timm's operations have the magnitudes that are meant.
Chance is Python's `random` and NumPy's, as timm has it.
"""

from __future__ import annotations

from typing import Any

from PIL import Image
from timm.data.auto_augment import AugmentOp, AutoAugment, RandAugment


def timm_transform(policy: dict[str, Any]) -> AutoAugment | RandAugment:
    """A transform that draws from the policy for each image: a sub-policy, or `num_ops` of all."""
    groups = augment_ops(policy)
    if policy["num_ops"] is None:
        return AutoAugment(groups)  # type: ignore[no-untyped-call]
    return RandAugment(groups[0], num_layers=policy["num_ops"])  # type: ignore[no-untyped-call]


def augment_ops(policy: dict[str, Any]) -> list[list[AugmentOp]]:
    """The policy's operations, a list a sub-policy; one list where they are drawn singly."""
    return [[_augment_op(row, policy["fill"]) for row in group] for group in policy["operations"]]


def _augment_op(operation: dict[str, Any], fill: list[int]) -> AugmentOp:
    return AugmentOp(  # type: ignore[no-untyped-call]
        operation["name"],
        prob=operation["prob"],
        magnitude=operation["level"],
        hparams={
            "img_mean": tuple(fill),
            "interpolation": Image.Resampling.NEAREST,
            "magnitude_max": max(10, operation["level"]),  # a level beyond would be cut off
            **operation["hparams"],
        },
    )
