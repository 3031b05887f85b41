from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.budget import window
from search_spaces.compound_scaling import Baseline, ScalingCoefficients, scale
from search_spaces.grid import CountedGrid, grid_axis, within_formula
from trainer.complexity import count
from trainer.errors import ConfigError

AXIS = grid_axis(step=Fraction(1, 20), maximum=Fraction(2))
HUNDREDTHS = st.integers(1, 60).map(lambda n: Fraction(n, 100))


def formula(tolerance: str, axis=AXIS) -> list[ScalingCoefficients]:
    return list(within_formula(axis, target=Fraction(2), tolerance=Fraction(tolerance)))


def test_an_axis_includes_both_ends_exactly():
    assert len(AXIS) == 21
    assert (AXIS[0], AXIS[3], AXIS[-1]) == (1, Fraction(23, 20), 2)


def test_a_maximum_between_two_steps_is_not_reached():
    assert grid_axis(step=Fraction(3, 10), maximum=Fraction(2))[-1] == Fraction(19, 10)


@pytest.mark.parametrize(
    ("step", "maximum", "message"),
    [
        ("0", "2", "--grid-step must be positive"),
        ("-1", "2", "--grid-step must be positive"),
        ("0.05", "1", "--grid-max must be above 1"),
        ("1.5", "2", "--grid-step: 1.5 is longer than the axis from 1 to 2"),
        ("0.0000001", "2", "at most 10,000,000 are searched"),
    ],
)
def test_a_grid_without_a_choice_or_without_an_end_is_refused(step, maximum, message):
    with pytest.raises(ConfigError, match=message):
        grid_axis(step=Fraction(step), maximum=Fraction(maximum))


@pytest.mark.parametrize(
    ("tolerance", "points"), [("0.05", 54), ("0.08", 84), ("0.10", 109), ("0.20", 217)]
)
def test_the_formula_keeps_as_many_points_as_exact_decimals_do(tolerance, points):
    assert len(formula(tolerance)) == points


def test_a_step_of_a_tenth_keeps_21_points():
    assert len(formula("0.1", grid_axis(step=Fraction(1, 10), maximum=Fraction(2)))) == 21


def test_the_published_triple_needs_a_tolerance_of_8_hundredths():
    published = ScalingCoefficients.of("1.2", "1.1", "1.15")
    assert published.flops_factor == Fraction("1.92027")
    assert published not in formula("0.05")
    assert published in formula("0.08")


def test_a_point_on_the_bound_is_inside_although_floats_lose_it():
    assert 2 - 1.9 > 0.1
    assert ScalingCoefficients.of("1.9", 1, 1) in formula("0.1")


@given(step=st.integers(10, 60).map(lambda n: Fraction(n, 100)), tolerance=HUNDREDTHS)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_the_formula_keeps_what_the_definition_says(step, tolerance):
    axis, target = grid_axis(step=step, maximum=Fraction(2)), Fraction(21, 10)
    points = (ScalingCoefficients(*bases) for bases in product(axis, repeat=3))
    expected = [p for p in points if abs(p.flops_factor - target) <= tolerance]
    assert sorted(within_formula(axis, target=target, tolerance=tolerance)) == expected


@pytest.mark.parametrize("name", ["efficientnet-b0", "efficientnet-b0-small"])
def test_the_counted_grid_keeps_what_counting_every_point_keeps(name):
    start = Baseline.of(name, num_classes=10, resolution=64, width="0.7")
    axis = grid_axis(step=Fraction(1, 5), maximum=Fraction(2))
    base = count(start.config).macs
    points = [ScalingCoefficients(*bases) for bases in product(axis, repeat=3)]
    ratios = {point: Fraction(count(scale(start, point)).macs, base) for point in points}
    expected = [p for p in points if abs(ratios[p] - 2) <= Fraction(1, 4)]
    allowed = window(target=Fraction(2), tolerance=Fraction(1, 4), unit=base)
    assert sorted(CountedGrid.of(start, axis).within(allowed)) == expected
    assert len(expected) > 5


def test_the_nearest_costs_enclose_the_wanted_one():
    grid = CountedGrid.of(Baseline.of("efficientnet-b0"), AXIS)
    below, above = grid.nearest(700_000_000)
    assert below < 700_000_000 <= above
    assert grid.nearest(1) == (385_814_752,)
    assert len(grid.nearest(10**12)) == 1
