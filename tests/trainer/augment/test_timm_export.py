"""timm's operations, run as timm runs them."""

from __future__ import annotations

import random

import pytest
from timm.data.auto_augment import AutoAugment, RandAugment
from torchvision.transforms.v2 import functional

from tests.pictures import pictures
from trainer.augment.policy import Operation, Policy, RandomPolicy, SubPolicy, Uniform
from trainer.augment.presets import preset, randaugment
from trainer.augment.timm_export import to_timm
from trainer.augment.torchvision_export import apply_with_torchvision
from trainer.errors import ConfigError


def one(*operations: Operation) -> Policy:
    return Policy(name="one", sub_policies=(SubPolicy(operations=operations),), fill=(9, 8, 7))


@pytest.mark.parametrize(
    "name", ["autoaugment-imagenet", "autoaugment-cifar10", "autoaugment-svhn"]
)
def test_a_policy_runs_in_timms_autoaugment(name: str) -> None:
    groups = to_timm(preset(name))
    assert [len(group) for group in groups] == [2] * 25
    transform = AutoAugment(groups)  # type: ignore[no-untyped-call]
    for image in pictures(20, 32, 32):
        assert transform(functional.to_pil_image(image)).size == (32, 32)


def test_a_random_policy_runs_in_timms_randaugment() -> None:
    (operations,) = to_timm(randaugment(num_ops=2))
    transform = RandAugment(operations, num_layers=2)  # type: ignore[no-untyped-call]
    assert len(operations) == 14
    for image in pictures(20, 32, 32):
        assert transform(functional.to_pil_image(image)).size == (32, 32)


@pytest.mark.parametrize(
    ("name", "magnitude", "mirrored"),
    [
        ("shear-x", 0.3, True),
        ("shear-y", 0.17, True),
        ("shear-x", 0.9, True),
        ("translate-x", 0.25, True),
        ("translate-y", 0.5, True),
        ("rotate", 17, True),
        ("rotate", 135, True),
        ("autocontrast", None, False),
        ("invert", None, False),
        ("equalize", None, False),
        ("identity", None, False),
        *(("solarize", threshold, False) for threshold in (0, 1, 28.4, 128, 255, 256)),
        *(("posterize", bits, False) for bits in range(1, 9)),
        ("contrast", 0.1, False),
        ("color", 1.9, False),
        ("brightness", 2, False),
        ("sharpness", 1.3, False),
        ("color", 1.9, True),
        ("brightness", 0.55, True),
    ],
)
def test_timm_gets_the_same_magnitude(name: str, magnitude: float | None, mirrored: bool) -> None:
    """Its result is torchvision's on a PIL image at our magnitude or at its mirror image."""
    operation = Operation(name=name, magnitude=magnitude, mirrored=mirrored)
    ((exported,),) = to_timm(one(operation))
    image = functional.to_pil_image(pictures(4, 24, 24)[1])
    neutral = 1 if name in ("contrast", "color", "brightness", "sharpness") else 0
    value = magnitude or 0.0
    allowed = [
        apply_with_torchvision(image, name, m, place=(0, 0), fill=(9, 8, 7)).tobytes()
        for m in (value, 2 * neutral - value if mirrored else value)
    ]
    random.seed(0)
    seen = {exported(image).tobytes() for _ in range(40)}
    assert seen == set(allowed)


def test_solarize_add_and_probabilities_are_kept() -> None:
    ((exported,),) = to_timm(one(Operation(name="solarize-add", probability=0.3, magnitude=110)))
    assert exported.prob == 0.3
    assert exported.level_fn is not None
    level = exported.level_fn(exported.magnitude, exported.hparams)  # type: ignore[no-untyped-call]
    assert level == (110,)


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (Operation(name="cutout", magnitude=0.5), "timm cannot do cutout"),
        (Operation(name="sample-pairing", magnitude=0.5), "timm cannot do sample-pairing"),
        (Operation(name="posterize", magnitude=0), "timm cannot posterize to 0 bits"),
        (
            Operation(name="rotate", magnitude=-9, mirrored=False),
            r"timm cannot fix the sign of rotate \(given -9\)",
        ),
        (Operation(name="color", magnitude=0), r"timm cannot take color below a factor of 0\.1"),
        (
            Operation(name="color", magnitude=1.99, mirrored=True),
            r"timm cannot take color below a factor of 0\.1 \(given 1.99\)",
        ),
        (
            Operation(name="solarize-add", magnitude=200),
            r"timm cannot add more than 128 in solarize-add \(given 200\)",
        ),
        (
            Operation(name="solarize", magnitude=Uniform(low=0, high=9)),
            "timm cannot draw the magnitude of solarize from a range",
        ),
    ],
)
def test_what_timm_cannot_do_is_refused_by_name(operation: Operation, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"policy 'one': {reason}"):
        to_timm(one(operation))


def test_the_colour_pipeline_and_drawn_magnitudes_are_refused() -> None:
    with pytest.raises(ConfigError, match="'bag-of-tricks-color': timm cannot scale hues"):
        to_timm(preset("bag-of-tricks-color"))
    with pytest.raises(ConfigError, match="'trivialaugment': timm cannot draw the magnitude"):
        to_timm(preset("trivialaugment"))
    fixed = RandomPolicy(name="fixed", operations=(Operation(name="invert"),))
    assert [op.name for op in to_timm(fixed)[0]] == ["Invert"]
