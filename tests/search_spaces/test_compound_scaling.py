import json
from fractions import Fraction
from pathlib import Path

import pytest

from search_spaces.compound_scaling import (
    Baseline,
    ScalingCoefficients,
    channels,
    family,
    repeats,
    scale,
)
from search_spaces.published import PUBLISHED_COEFFICIENTS
from trainer.complexity import count
from trainer.errors import ConfigError
from trainer.models.baselines import baseline

EXACT = json.loads((Path(__file__).parents[1] / "golden" / "efficientnet.json").read_text())[
    "exact"
]
B0 = Baseline.of("efficientnet-b0")
ONE = ScalingCoefficients.of(1, 1, 1)


@pytest.mark.parametrize("phi", EXACT)
def test_the_family_of_the_published_triple_has_its_known_networks(phi):
    (row,) = (member.to_json() for member in family(B0, PUBLISHED_COEFFICIENTS, [phi]))
    assert {key: row[key] for key in EXACT[phi]} == EXACT[phi]
    assert row["name"] == f"B{phi}"


def test_a_family_has_seven_members_whose_factors_are_exact_powers():
    members = family(B0, PUBLISHED_COEFFICIENTS)
    assert [member.name for member in members] == ["B1", "B2", "B3", "B4", "B5", "B6", "B7"]
    assert [member.depth for member in members] == [Fraction(6, 5) ** phi for phi in range(1, 8)]
    assert members[0].macs_ratio == pytest.approx(2.5728, abs=1e-4)


def test_resolutions_of_a_family_can_be_multiples():
    members = family(B0, PUBLISHED_COEFFICIENTS, [1, 2, 3], resolution_multiple=32)
    assert [member.config.resolution for member in members] == [256, 288, 352]


@pytest.mark.parametrize("phi", [0, -1, "one"])
def test_a_phi_that_scales_nothing_is_refused(phi):
    with pytest.raises(ConfigError, match="--phi"):
        family(B0, PUBLISHED_COEFFICIENTS, [phi])


def test_scaling_by_one_builds_the_baseline():
    start = Baseline.of("efficientnet-b0-small", num_classes=10, width="0.35", depth="1.5")
    assert scale(start, ONE) == start.config


def test_a_narrow_baseline_is_scaled_from_its_unrounded_channels():
    start = Baseline.of("efficientnet-b0-small", width="0.6")
    scaled = scale(start, ScalingCoefficients.of(1, "1.5", 1))
    assert scaled == baseline("efficientnet-b0-small", width="0.9")
    assert channels(start.config)[1] == 16  # 14.4; 16 times 1.5 would be 24
    assert channels(scaled)[1] == 24
    assert (channels(start.config)[3], channels(scaled)[3]) == (48, 72)


def test_rounding_twice_would_build_another_network():
    start = Baseline.of("efficientnet-b0", width="0.3")
    assert start.config.stem_channels == 16  # 9.6 would become 8, which loses more than 10 %
    assert scale(start, ScalingCoefficients.of(1, 2, 1)).stem_channels == 24  # of 19.2, not of 32


def test_depth_of_the_baseline_and_alpha_multiply_before_rounding():
    start = Baseline.of("efficientnet-b0", depth="0.5")
    assert repeats(start.config) == (1, 1, 1, 2, 2, 2, 1)
    assert repeats(scale(start, ScalingCoefficients.of(2, 1, 1))) == (1, 2, 2, 3, 3, 4, 1)


def test_every_axis_changes_its_own_numbers_only():
    deeper, wider, larger = (
        scale(B0, ScalingCoefficients.of(*factors)) for factors in [(2, 1, 1), (1, 2, 1), (1, 1, 2)]
    )
    assert (channels(deeper), deeper.resolution) == (channels(B0.config), 224)
    assert (repeats(wider), wider.resolution) == (repeats(B0.config), 224)
    assert (wider.stem_channels, wider.head_channels) == (64, 2560)
    assert larger == B0.config.with_(resolution=448)


def test_a_baseline_reads_as_the_plan_states_it():
    assert B0.to_json() == {
        "name": "efficientnet-b0",
        "width": 1.0,
        "depth": 1.0,
        "stem_stride": 2,
        "resolution": 224,
        "params": 5_288_548,
        "macs": 385_814_752,
    }


def test_coefficients_are_read_as_decimals():
    assert ScalingCoefficients.parse("1.2, 1.1,1.15") == PUBLISHED_COEFFICIENTS
    assert PUBLISHED_COEFFICIENTS.to_json() == [1.2, 1.1, 1.15]


@pytest.mark.parametrize("text", ["1.2,1.1", "1,1,1,1", "0.9,1,1", "a,b,c", "nan,1,1", ""])
def test_coefficients_that_are_not_three_factors_of_at_least_one_are_refused(text):
    with pytest.raises(ConfigError, match="--coefficients"):
        ScalingCoefficients.parse(text)


def test_whatever_is_wrong_with_a_baseline_is_said_when_it_is_made():
    with pytest.raises(ConfigError, match="Did you mean 'efficientnet-b0'"):
        Baseline.of("efficientnet-b")
    with pytest.raises(ConfigError, match="below the network's total stride"):
        Baseline.of("efficientnet-b0", resolution=31)


def test_cost_is_nearly_the_formula_where_nothing_is_rounded():
    wider = count(scale(B0, ScalingCoefficients.of(1, 2, 1))).macs / count(B0.config).macs
    assert wider == pytest.approx(4, rel=0.1)
