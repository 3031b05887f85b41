import pytest

from trainer.data.defaults import NOT_MIRRORED, default_augment, default_crop_fraction
from trainer.data.sources import DIGITS, TORCHVISION


@pytest.mark.parametrize(("side", "crop"), [(8, "pad"), (63, "pad"), (64, "random-resized")])
def test_small_images_are_padded_and_photographs_cropped(side: int, crop: str) -> None:
    assert default_augment("./photos", typical_short_side=side).crop == crop
    assert default_crop_fraction(side) == (1.0 if crop == "pad" else 0.875)


@pytest.mark.parametrize(
    ("dataset", "flip"), [("digits", False), ("svhn", False), ("cifar10", True), ("./digits", True)]
)
def test_digits_and_signs_are_not_mirrored(dataset: str, flip: bool) -> None:
    assert default_augment(dataset, typical_short_side=32).flip is flip


def test_the_sets_that_are_not_mirrored_exist() -> None:
    assert {DIGITS, *TORCHVISION} >= NOT_MIRRORED
