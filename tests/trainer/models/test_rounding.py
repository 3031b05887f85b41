from fractions import Fraction

import pytest

from trainer.errors import ConfigError
from trainer.models.rounding import exact, round_depth, round_resolution, round_width


@pytest.mark.parametrize(
    ("channels", "width", "rounded"),
    [
        (32, "1.1", 32),
        (320, "1.4", 448),
        (24, "1.2", 32),
        (112, "1.6", 176),
        (192, "4.3", 824),
        (16, "1.2", 24),  # 19.2 -> 16 would lose more than 10 %
        (16, "0.7", 16),
        (16, "0.1", 8),
        (20, 1, 24),  # halves go up
    ],
)
def test_a_width_is_rounded_as_in_the_released_networks(channels, width, rounded):
    assert round_width(channels, width) == rounded


def test_a_width_never_falls_when_its_factor_grows():
    widths = [round_width(16, Fraction(i, 100)) for i in range(50, 500)]
    assert widths == sorted(widths)


@pytest.mark.parametrize(
    ("repeats", "depth", "rounded"),
    [(1, "1.1", 2), (4, "1.8", 8), (3, "3.1", 10), (4, "5.3", 22), (10, 1.1, 11), (3, 1, 3)],
)
def test_a_depth_is_rounded_up_from_the_decimal_and_not_from_the_float(repeats, depth, rounded):
    assert round_depth(repeats, depth) == rounded


@pytest.mark.parametrize(
    ("side", "factor", "multiple", "rounded"),
    [(224, "1.15", 1, 258), (30, "1.05", 1, 32), (224, "1.15", 8, 256), (100, "1.04", 8, 104)],
)
def test_a_resolution_is_rounded_half_up_to_its_multiple(side, factor, multiple, rounded):
    assert round_resolution(side, factor, multiple=multiple) == rounded


@pytest.mark.parametrize("text", ["nan", "inf", "1/3", "", "1e9999999", "two", "1,2"])
def test_what_is_no_decimal_is_refused_with_its_path(text):
    with pytest.raises(ConfigError, match=r"^--grid-step: '.*' is not a decimal number"):
        exact(text, path="--grid-step")


def test_a_float_means_what_it_prints():
    assert exact(0.1) == exact("0.1") == Fraction(1, 10)
    assert exact(1e-05) == Fraction(1, 100_000)
