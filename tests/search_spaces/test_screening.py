import json
from fractions import Fraction
from math import log
from time import process_time

import pytest

from search_spaces.compound_scaling import Baseline, ScalingCoefficients, family, scale
from search_spaces.screening import Candidate, Screening, candidate, screen
from trainer.complexity import count
from trainer.errors import ConfigError

B0 = Baseline.of("efficientnet-b0")
TWICE = Fraction(2)


@pytest.fixture(scope="module")
def counted() -> Screening:
    return screen(B0, target=TWICE)


@pytest.fixture(scope="module")
def by_formula() -> Screening:
    return screen(B0, target=TWICE, constraint="formula")


def test_b0_at_224_px_leaves_45_points_that_build_20_networks(counted):
    assert (counted.points, counted.within_formula, counted.within_counted) == (9261, 109, 45)
    assert len(counted.candidates) == 20
    assert counted.warnings == ()


def test_the_formula_keeps_109_points_that_build_65_networks_of_up_to_three_times_the_cost(
    by_formula,
):
    ratios = [candidate.macs_ratio for candidate in by_formula.candidates]
    assert (by_formula.within_formula, by_formula.within_counted) == (109, 45)
    assert len(ratios) == 65
    assert (round(min(ratios), 2), round(max(ratios), 2)) == (1.93, 3.33)


def test_a_step_of_a_tenth_leaves_10_points_and_7_networks():
    coarse = screen(B0, target=TWICE, step=Fraction(1, 10))
    assert (coarse.points, coarse.within_formula, coarse.within_counted) == (1331, 21, 10)
    assert len(coarse.candidates) == 7


def test_only_six_points_satisfy_both_constraints(counted, by_formula):
    sets = [{p for c in s.candidates for p in c.equal_points} for s in (counted, by_formula)]
    assert len(sets[0] & sets[1]) == 6


@pytest.mark.parametrize(
    ("side", "networks"), [(32, 6), (64, 14), (96, 11), (128, 14), (160, 23), (224, 20)]
)
def test_how_many_networks_a_small_image_leaves(side, networks):
    start = Baseline.of("efficientnet-b0", num_classes=10, resolution=side)
    assert len(screen(start, target=TWICE).candidates) == networks


def test_five_halvings_of_32_px_leave_one_resolution_and_say_so():
    screening = screen(Baseline.of("efficientnet-b0", num_classes=10, resolution=32), target=TWICE)
    assert screening.within_counted == 16
    assert screening.warnings == (
        "resolution has a single value left: all 6 networks within the budget have 32 px",
    )


@pytest.mark.parametrize("num_classes", [10, 1000])
def test_four_halvings_of_32_px_leave_seven_resolutions(num_classes):
    start = Baseline.of("efficientnet-b0-small", num_classes=num_classes)
    screening = screen(start, target=TWICE)
    assert len(screening.candidates) == 13
    assert len({candidate.config.resolution for candidate in screening.candidates}) == 7
    assert screening.warnings == ()


def test_a_candidate_states_the_cost_of_the_network_it_builds(counted):
    for row in counted.candidates:
        assert row.cost == count(row.config)
        assert row.coefficients in row.equal_points
        assert {scale(B0, point) for point in row.equal_points} == {row.config}
        assert abs(row.macs_ratio - 2) <= 0.1


def test_candidates_are_distinct_and_ordered(counted):
    assert len({row.config for row in counted.candidates}) == len(counted.candidates)
    names = [row.coefficients for row in counted.candidates]
    assert names == sorted(names)


def unevenness(row: Candidate, point: ScalingCoefficients) -> float:
    members = family(B0, point)
    return max(
        abs(log(member.macs_ratio / row.macs_ratio**phi)) for phi, member in enumerate(members, 1)
    )


def test_the_name_of_a_candidate_is_the_point_whose_family_grows_most_evenly(counted):
    shared = [row for row in counted.candidates if len(row.equal_points) > 1]
    renamed = [row for row in shared if row.coefficients != row.equal_points[0]]
    assert renamed, "the first point in order would do as well: nothing is tested"
    for row in shared:
        best = min(unevenness(row, point) for point in row.equal_points)
        assert unevenness(row, row.coefficients) == pytest.approx(best, abs=1e-9)


def test_of_equally_even_points_the_smallest_names():
    start = Baseline.of("efficientnet-b0")
    point = ScalingCoefficients.of("1.2", "1.1", "1.15")
    hair = ScalingCoefficients.of("1.2", "1.1", "1.150000000001")
    named = candidate(start, [hair, point])
    assert (named.coefficients, named.equal_points) == (point, (point, hair))


def test_max_params_leaves_the_counts_and_takes_candidates(counted):
    limit = 7_000_000
    slim = screen(B0, target=TWICE, max_params=limit)
    assert slim.candidates == tuple(c for c in counted.candidates if c.cost.params <= limit)
    assert 0 < len(slim.candidates) < 20
    assert (slim.within_formula, slim.within_counted) == (109, 45)


def test_a_limit_below_every_network_names_the_smallest():
    with pytest.raises(ConfigError, match=r"--max-params: 1,000 .* the smallest has 5,288,548"):
        screen(B0, target=TWICE, max_params=1000)


def test_a_budget_that_nothing_meets_names_the_nearest_costs():
    with pytest.raises(ConfigError, match=r"nearest counted costs are 1\.999x and 2\.001x"):
        screen(B0, target=TWICE, tolerance=Fraction(0))
    with pytest.raises(ConfigError, match=r"nearest counted costs are 30\.61x:"):
        screen(B0, target=Fraction(200))


def test_unknown_constraints_and_negative_tolerances_are_refused():
    with pytest.raises(ConfigError, match="Did you mean 'counted'"):
        screen(B0, target=TWICE, constraint="count")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--tolerance must not be negative"):
        screen(B0, target=TWICE, tolerance=Fraction(-1))


def test_a_lone_candidate_is_said():
    alone = screen(B0, target=Fraction(1), tolerance=Fraction(1, 1000))
    assert len(alone.candidates) == 1
    assert "nothing to choose" in alone.warnings[0]


def test_a_screening_reads_as_the_plan_states_it(counted):
    document = json.loads(json.dumps(counted.to_json()))
    assert document["grid"] == {
        "points": 9261,
        "within_formula": 109,
        "within_counted": 45,
        "distinct": 20,
    }
    row = document["candidates"][0]
    keys = (
        "alpha beta gamma formula macs macs_ratio params resolution channels repeats equal_points"
    )
    assert list(row) == keys.split()
    assert [row["alpha"], row["beta"], row["gamma"]] in row["equal_points"]
    assert len(row["channels"]) == len(row["repeats"]) == 7


def test_screening_the_default_grid_takes_less_than_half_a_second():
    start = process_time()
    screen(Baseline.of("efficientnet-b0", num_classes=37), target=TWICE)
    assert process_time() - start < 0.5


def test_a_finer_grid_renames_nothing_it_builds(counted):
    finer = {c.config for c in screen(B0, target=TWICE, step=Fraction(1, 40)).candidates}
    assert {row.config for row in counted.candidates} <= finer
