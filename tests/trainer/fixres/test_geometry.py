import pytest
import torch

from trainer.config import AugmentConfig
from trainer.fixres.geometry import (
    equalising_resolution,
    expected_ratio,
    expected_side,
    map_sides,
    sampled_ratio,
)
from trainer.models.baselines import baseline
from trainer.models.children import child

USUAL = AugmentConfig(crop="random-resized")


def _sampled(sizes: list[list[int]], augment: AugmentConfig = USUAL) -> float:
    return sampled_ratio(
        torch.tensor(sizes),
        augment,
        train_resolution=224,
        short_side=256,
        generator=torch.Generator().manual_seed(0),
    )


@pytest.mark.parametrize(
    ("low", "side", "ratio"), [(0.08, 0.708241, 0.809418), (0.05, 0.693909, 0.793038)]
)
def test_the_closed_form(low: float, side: float, ratio: float) -> None:
    assert expected_side((low, 1.0)) == pytest.approx(side, abs=1e-6)
    found = expected_ratio((low, 1.0), train_resolution=224, short_side=256)
    assert found == pytest.approx(ratio, abs=1e-6)


def test_a_scale_of_one_value_is_that_box() -> None:
    assert expected_side((0.25, 0.25)) == 0.5
    assert expected_side((0.25, 0.25 + 1e-9)) == pytest.approx(0.5, abs=1e-6)


def test_the_resolution_that_equalises_is_a_quarter_above_the_one_of_training() -> None:
    resolution = equalising_resolution((0.08, 1.0), train_resolution=224, crop_fraction=0.875)
    assert resolution / 224 == pytest.approx(1.2355, abs=1e-4)
    short_side = resolution / 0.875
    assert expected_side((0.08, 1.0)) * short_side / 224 == pytest.approx(1)


@pytest.mark.parametrize(
    ("height", "width", "ratio"), [(500, 500, 0.764), (480, 640, 0.838), (640, 480, 0.838)]
)
def test_real_crops_differ_from_the_closed_form(height: int, width: int, ratio: float) -> None:
    assert _sampled([[height, width]]) == pytest.approx(ratio, abs=0.004)


def test_images_count_alike_whatever_their_size() -> None:
    both = _sampled([[100, 100], [480, 640]])
    assert both == pytest.approx((0.764 + 0.838) / 2, abs=0.006)


def test_padded_crops_show_objects_at_their_test_size_but_for_the_crop_fraction() -> None:
    assert _sampled([[32, 32], [40, 30]], AugmentConfig(crop="pad")) == pytest.approx(256 / 224)


@pytest.mark.parametrize(("resolution", "side"), [(224, 7), (64, 2), (448, 14), (225, 8), (32, 1)])
def test_the_pooled_map_of_an_efficientnet(resolution: int, side: int) -> None:
    sides = map_sides(baseline("efficientnet-b0"), resolution)
    assert len(sides) == 8  # the stem and seven stages
    assert sides[-1] == side


def test_the_maps_of_a_wide_residual_network() -> None:
    model = child("wrn-10-1", num_classes=10, resolution=32)
    assert map_sides(model, 32) == (32, 32, 16, 8)
