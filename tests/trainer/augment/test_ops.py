"""Each operation against torchvision's own function, on uint8 images of awkward sizes."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from timm.data.auto_augment import solarize_add
from torch import Tensor
from torchvision.transforms.v2 import functional

from tests.pictures import pictures
from trainer.augment.apply import _KERNELS, apply_drawn
from trainer.augment.draws import OP_INDEX, Draws
from trainer.augment.geometry import INVERSE_MAPS
from trainer.augment.ops import OPS
from trainer.augment.tables import FIXED_TABLES, MEASURED_TABLES
from trainer.augment.torchvision_export import apply_with_torchvision

SIZES = [(32, 32), (33, 47), (17, 16), (1, 1), (2, 5)]
MAGNITUDES: dict[str, list[float]] = {
    "shear-x": [-0.3, -0.1, 0, 0.07, 0.3, 0.99],
    "shear-y": [-0.3, -0.1, 0, 0.07, 0.3, 0.99],
    "translate-x": [-1, -150 / 331, -0.1, 0, 0.3, 1],
    "translate-y": [-1, -150 / 331, -0.1, 0, 0.3, 1],
    "rotate": [-135, -30, -7.5, 0, 10, 30, 180],
    "solarize": [0, 1, 28.4, 128, 255, 256],
    "posterize": [0, 1, 4, 7, 8],
    "contrast": [0, 0.1, 0.5, 1, 1.3, 1.9, 2],
    "color": [0, 0.1, 0.5, 1, 1.3, 1.9, 2],
    "brightness": [0, 0.1, 0.5, 1, 1.3, 1.9, 2],
    "sharpness": [0, 0.1, 0.5, 1, 1.3, 1.9, 2],
    "cutout": [0, 0.2, 0.5, 1],
    "sample-pairing": [0, 0.1, 0.4, 1],
    "solarize-add": [0, 10, 110.5, 255],
}
WITHOUT = [name for name, op in OPS.items() if op.magnitude is None]
CASES = [(name, 0.0) for name in WITHOUT] + [(n, m) for n, ms in MAGNITUDES.items() for m in ms]
PLACE = (0.3, 0.9)


def same_for_all(name: str, magnitude: float, batch: int) -> Draws:
    """Draws that give every image the same operation, and the next image as its partner."""
    return Draws(
        op=torch.full((1, batch), OP_INDEX[name]),
        magnitude=torch.full((1, batch), magnitude, dtype=torch.float64),
        place=torch.tensor(PLACE, dtype=torch.float64).expand(1, batch, 2),
        partner=(torch.arange(batch) + 1).unsqueeze(0) % batch,
    )


def between_pixels(name: str, magnitude: float, height: int, width: int) -> Tensor:
    """(H, W) bool: output pixels whose source lies, to 1e-3 px, on the border of two pixels."""
    if OPS[name].family != "affine":
        return torch.zeros((height, width), dtype=torch.bool)
    inverse = INVERSE_MAPS[name](torch.tensor([magnitude], dtype=torch.float64), height, width)[0]
    y = torch.arange(height, dtype=torch.float64).view(-1, 1) - (height - 1) / 2
    x = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    tied = torch.zeros((height, width), dtype=torch.bool)
    for (a, b, c), side in zip(inverse.tolist(), (width, height), strict=True):
        source = a * x + b * y + c + side / 2
        tied |= (source - source.round()).abs() < 1e-3
    return tied


def test_every_operation_has_its_kernel() -> None:
    kernels = {
        "table": {*FIXED_TABLES, *MEASURED_TABLES} - {"identity"},
        "affine": set(INVERSE_MAPS),
    }
    for family in _KERNELS:
        names = {name for name, op in OPS.items() if op.family == family}
        assert names == kernels.get(family, names)
    assert {op.family for op in OPS.values()} == set(_KERNELS)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", OPS)
def test_an_op_keeps_shape_and_dtype_at_both_ends_of_its_limits(name: str, channels: int) -> None:
    images, meaning = pictures(4, 9, 12, channels=channels), OPS[name].magnitude
    ends = (meaning.minimum, meaning.maximum) if meaning else (0.0,)
    for magnitude in ends:
        changed = apply_drawn(images, same_for_all(name, magnitude, 4))
        assert changed.shape == images.shape
        assert changed.dtype == torch.uint8


@pytest.mark.parametrize("name", [n for n, op in OPS.items() if op.magnitude])
def test_the_neutral_magnitude_changes_nothing(name: str) -> None:
    neutral = {"solarize": 256.0, "posterize": 8.0}
    meaning = OPS[name].magnitude
    assert meaning is not None
    images = pictures(8, 17, 20)
    magnitude = neutral.get(name, meaning.neutral or 0.0)
    assert apply_drawn(images, same_for_all(name, magnitude, 8)).equal(images)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(
    ("name", "magnitude"),
    [case for case in CASES if case[0] not in ("sample-pairing", "solarize-add")],
)
def test_an_op_equals_torchvisions(name: str, magnitude: float, height: int, width: int) -> None:
    """To the unit, but for two named exceptions.

    Where a pixel's source lies exactly between two pixels either may be taken: torchvision leaves
    the choice to the last bit of its arithmetic, we take the right or lower one. Blends multiply
    and add in an order that the compiler of each build chooses, and then drop the fraction: one
    level.
    """
    images = pictures(8, height, width)
    ours = apply_drawn(images, same_for_all(name, magnitude, 8), fill=(1, 2, 3))
    theirs = torch.stack(
        [
            apply_with_torchvision(image, name, magnitude, place=PLACE, fill=(1, 2, 3))
            for image in images
        ]
    )
    difference = (ours.int() - theirs.int()).abs()
    difference[..., between_pixels(name, magnitude, height, width)] = 0
    assert difference.max() <= (1 if name in ("contrast", "color", "sharpness") else 0)
    assert (difference == 0).double().mean() > 0.999


@pytest.mark.parametrize(("name", "magnitude"), [c for c in CASES if OPS[c[0]].family == "affine"])
def test_few_pixels_lie_between_two_others(name: str, magnitude: float) -> None:
    assert between_pixels(name, magnitude, 32, 32).double().mean() <= 0.1


def test_a_source_between_two_pixels_is_the_right_or_lower_one() -> None:
    images = torch.arange(5, dtype=torch.uint8).expand(1, 1, 5, 5)
    moved = apply_drawn(images, same_for_all("translate-x", 0.1, 1))  # by half a pixel
    assert moved[0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    moved = apply_drawn(images, same_for_all("translate-x", -0.1, 1))
    assert moved[0, 0, 0].tolist() == [1, 2, 3, 4, 128]


@pytest.mark.parametrize("magnitude", MAGNITUDES["solarize-add"])
def test_solarize_add_equals_timms(magnitude: float) -> None:
    images = pictures(8, 17, 16)
    ours = apply_drawn(images, same_for_all("solarize-add", magnitude, 8))
    for image, changed in zip(images, ours, strict=True):
        theirs = solarize_add(functional.to_pil_image(image), int(magnitude))  # type: ignore[no-untyped-call]
        assert changed.equal(functional.pil_to_tensor(theirs))


@pytest.mark.parametrize("weight", MAGNITUDES["sample-pairing"])
def test_sample_pairing_equals_pils_blend_within_a_level(weight: float) -> None:
    images = pictures(8, 17, 16)
    ours = apply_drawn(images, same_for_all("sample-pairing", weight, 8))
    for index, changed in enumerate(ours):
        own, other = (functional.to_pil_image(images[i % 8]) for i in (index, index + 1))
        theirs = functional.pil_to_tensor(Image.blend(own, other, weight))
        assert (changed.int() - theirs.int()).abs().max() <= 1


def test_rotation_is_counter_clockwise_and_translation_to_the_right() -> None:
    images = torch.zeros((1, 1, 8, 8), dtype=torch.uint8)
    images[..., 2, 6] = 200  # upper right
    turned = apply_drawn(images, same_for_all("rotate", 90, 1))
    assert turned[0, 0].nonzero().tolist() == [[1, 2]]  # upper left
    moved = apply_drawn(images, same_for_all("translate-x", -0.25, 1), fill=0)
    assert moved[0, 0].nonzero().tolist() == [[2, 4]]


def test_posterize_keeps_the_stated_bits() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    for bits in range(9):
        kept = apply_drawn(images, same_for_all("posterize", bits, 1))
        assert len(set(kept.flatten().tolist())) == 2**bits
        assert kept.flatten()[-1] == 256 - 2 ** (8 - bits)


def test_contrast_moves_values_from_the_images_own_mean() -> None:
    images = torch.tensor([100, 140], dtype=torch.uint8).view(1, 1, 1, 2).repeat(2, 1, 1, 1)
    images[1] += 60
    changed = apply_drawn(images, same_for_all("contrast", 0.5, 2))
    assert changed.flatten().tolist() == [110, 130, 170, 190]
