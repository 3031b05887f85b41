import json
from fractions import Fraction
from pathlib import Path

import pytest

from search_spaces.compound_scaling import (
    Baseline,
    ScalingCoefficients,
    channels,
    repeats,
    scale,
)
from search_spaces.family_tables import (
    MODES,
    exact_sizes,
    parse_modes,
    parse_phis,
    parse_published,
    published_sizes,
    usual_dropout,
)
from search_spaces.published import PUBLISHED, PUBLISHED_COEFFICIENTS
from search_spaces.single_axis import Axis, nearest_in_cost
from trainer.complexity import count
from trainer.errors import ConfigError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "efficientnet.json").read_text())
B0 = Baseline.of("efficientnet-b0")
NARROW = Baseline.of("efficientnet-b0-small", num_classes=10, resolution=32, width="0.1875")
AXES: tuple[Axis, ...] = ("depth", "width", "resolution")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_row_of_the_published_table_is_the_released_network(name):
    (row,) = (size.to_json() for size in published_sizes([name], num_classes=1000))
    known = GOLDEN["published"][name]
    shared = row.keys() & known.keys()
    assert {key: row[key] for key in shared} == {key: known[key] for key in shared}
    assert shared == {"resolution", "dropout", "params", "macs", "channels", "repeats"}
    assert (row["mode"], row["phi"], row["target_ratio"]) == ("published", None, None)


@pytest.mark.parametrize("phi", GOLDEN["exact"])
def test_a_row_of_the_exact_table_is_the_network_at_that_phi(phi):
    (size,) = exact_sizes(B0, PUBLISHED_COEFFICIENTS, parse_phis(phi))
    row, known = size.to_json(), GOLDEN["exact"][phi]
    assert {key: row[key] for key in known} == known
    assert (row["name"], row["beside"], row["distance"]) == (f"B{phi}", f"B{phi}", 0)


def test_the_promise_is_the_ratio_at_phi_one_to_the_power_of_phi():
    first, second = exact_sizes(B0, PUBLISHED_COEFFICIENTS, parse_phis("1,2"))
    assert first.target_ratio == first.macs_ratio
    assert second.target_ratio == pytest.approx(first.macs_ratio**2)
    assert second.macs_ratio < second.target_ratio


def test_the_tables_of_one_name_are_different_networks():
    published = {size.name: size.cost for size in published_sizes(num_classes=1000)}
    for size in exact_sizes(B0, PUBLISHED_COEFFICIENTS, parse_phis("1-7")):
        assert size.cost != published[size.name]


def test_dropout_follows_the_published_rule_between_the_published_sizes():
    even = {name: PUBLISHED[name].dropout for name in ("B0", "B2", "B4", "B6", "B7", "B8")}
    assert {name: usual_dropout(int(name[1:])) for name in even} == even
    assert usual_dropout(2.5) == 0.325
    sizes = exact_sizes(B0, PUBLISHED_COEFFICIENTS, parse_phis("1"), MODES)
    assert {size.config.dropout for size in sizes} == {0.25}


def test_the_modes_of_a_size_differ_in_their_own_axis_alone():
    compound, deeper, wider, larger = exact_sizes(
        B0, PUBLISHED_COEFFICIENTS, parse_phis("2"), MODES
    )
    assert (channels(deeper.config), deeper.config.resolution) == (channels(B0.config), 224)
    assert (repeats(wider.config), wider.config.resolution) == (repeats(B0.config), 224)
    assert (channels(larger.config), repeats(larger.config)) == (
        channels(B0.config),
        repeats(B0.config),
    )
    assert [size.name for size in (deeper, wider, larger)] == [
        "B2 depth",
        "B2 width",
        "B2 resolution",
    ]
    for size in (deeper, wider, larger):
        assert size.beside == compound.name
        assert size.distance == size.cost.macs / compound.cost.macs - 1
        assert abs(size.distance) < 0.05


def costs_along(start: Baseline, axis: Axis, *, up_to: int) -> set[int]:
    """The costs of all networks on an axis, by trying factors at small steps."""
    steps = {"depth": 240, "width": 2000, "resolution": 4 * start.resolution}[axis]
    costs, place = set(), steps
    while True:
        factor = Fraction(place, steps)
        one = Fraction(1)
        factors = ScalingCoefficients(*(factor if axis == name else one for name in AXES))
        costs.add(count(scale(start, factors)).macs)
        if max(costs) > up_to:
            return costs
        place += 1


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("start", [B0, NARROW], ids=["b0", "narrow"])
def test_a_single_axis_comes_as_near_to_a_cost_as_any_network_on_it(start, axis):
    for ratio in ("1", "1.3", "2.57", "4"):
        wanted = int(Fraction(ratio) * count(start.config).macs)
        found = nearest_in_cost(start, axis, wanted)
        distances = {abs(cost - wanted) for cost in costs_along(start, axis, up_to=2 * wanted)}
        assert abs(count(found.config).macs - wanted) <= min(distances)
        assert scale(start, found.factors) == found.config  # the factor that is said builds it


@pytest.mark.parametrize(
    ("axis", "factor", "macs"),
    [("depth", 4, 1_575_132_640), ("width", 2, 1_449_958_848), ("resolution", 2, 1_537_537_408)],
)
def test_the_networks_of_the_papers_control_experiment_are_found_again(axis, factor, macs):
    found = nearest_in_cost(B0, axis, macs)
    assert getattr(found.factors, axis) == factor
    assert count(found.config).macs == macs


def test_sides_are_multiples_on_every_axis():
    sizes = exact_sizes(
        B0,
        PUBLISHED_COEFFICIENTS,
        parse_phis("1-3"),
        ("compound", "resolution"),
        resolution_multiple=32,
    )
    assert [size.config.resolution % 32 for size in sizes] == [0] * 6


@pytest.mark.parametrize(
    ("text", "phis"),
    [("1-3", [1, 2, 3]), ("1,2.5", [1, 2.5]), (" 5, 1-2 ,2", [1, 2, 5]), ("0.5", [0.5])],
)
def test_phis_are_numbers_and_ranges(text, phis):
    assert parse_phis(text) == tuple(map(Fraction, phis))


@pytest.mark.parametrize(
    "text",
    ["", ",", "x", "1-", "3-1", "0", "-1", "21", "1-9999999999", "1.00001", "nan", "1/2", "1 2"],
)
def test_what_is_no_list_of_phis_is_refused(text):
    with pytest.raises(ConfigError, match=r"^phi: "):
        parse_phis(text)


def test_modes_and_published_names_are_lists_too():
    assert parse_modes("width,compound") == ("compound", "width")
    assert parse_modes("depth,all") == MODES
    assert parse_published("b2, L2,b0") == ("B0", "B2", "L2")
    with pytest.raises(ConfigError, match="Did you mean 'depth'"):
        parse_modes("deepth")
    with pytest.raises(ConfigError, match="members: unknown value 'B9'"):
        parse_published("B0,B9")


def test_what_costs_as_much_as_the_baseline_is_the_baseline():
    for width in ("1", "0.333", "0.001"):
        start = Baseline.of("efficientnet-b0-small", num_classes=10, width=width)
        for axis in AXES:
            found = nearest_in_cost(start, axis, count(start.config).macs)
            assert found.config == start.config
            assert getattr(found.factors, axis) >= 1


def test_a_network_beyond_all_machines_is_refused():
    with pytest.raises(ConfigError, match="B20 would cost"):
        exact_sizes(B0, ScalingCoefficients.of(4, 4, 4), parse_phis("20"), MODES)
