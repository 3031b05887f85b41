from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.augmentation import (
    UNPAIRED_OPS,
    ContinuousSpace,
    DiscreteSpace,
    concatenate,
    randaugment_grid,
    randaugment_parameters,
    union,
)
from trainer.augment.levels import policy_from_levels
from trainer.augment.ops import OPS, PAPER_OPS
from trainer.augment.policy import Operation, Policy, SubPolicy
from trainer.augment.presets import autoaugment_cifar10, randaugment, trivialaugment
from trainer.errors import ConfigError

SPACE = DiscreteSpace()
ONE = DiscreteSpace(num_sub_policies=1)
POINTS = ContinuousSpace(num_sub_policies=1)
UNIT = st.floats(0, 1)
OPERATION = st.tuples(st.integers(0, len(UNPAIRED_OPS) - 1), UNIT, UNIT)


def pair(*operations: Operation) -> Policy:
    return Policy(name="pair", sub_policies=(SubPolicy(operations=operations),))


def test_the_space_has_1760_to_the_tenth_decisions_of_thirty_kinds():
    assert SPACE.size == 1760**10 == 285184999433627773173760000000000
    assert (len(SPACE.choices), SPACE.choices[:3]) == (30, (16, 11, 10))
    assert ONE.size == 3_097_600


def test_decisions_are_read_as_type_tenths_and_level():
    policy = ONE.policy((4, 6, 9, 9, 10, 0), name="two")
    expected = (
        Operation(name="rotate", probability=0.6, magnitude=30),
        Operation(name="posterize", probability=1, magnitude=4),
    )
    assert policy.sub_policies == (SubPolicy(operations=expected),)


@given(st.tuples(*(st.integers(0, count - 1) for count in SPACE.choices)))
def test_decisions_read_from_a_policy_make_the_same_policy(decisions):
    policy = SPACE.policy(decisions, name="x")
    read = SPACE.decisions(policy)
    assert SPACE.policy(read, name="x") == policy
    assert all(level <= given for level, given in zip(read[2::3], decisions[2::3], strict=True))


@given(st.integers(0, 10), st.integers(0, 9))
def test_decisions_that_matter_survive_the_way_to_a_policy_and_back(tenths, level):
    decisions = (0, tenths, level, 15, 10 - tenths, 9 - level)
    assert ONE.decisions(ONE.policy(decisions, name="x")) == decisions


def test_the_published_policy_lies_in_the_space():
    space = DiscreteSpace(num_sub_policies=25)
    policy = autoaugment_cifar10()
    assert space.policy(space.decisions(policy), name=policy.name) == policy


def test_random_decisions_are_of_the_space_and_reach_both_ends_of_every_list():
    drawn = [ONE.sample(Random(seed)) for seed in range(400)]
    for decisions in drawn:
        ONE.check(decisions)
    for place, count in enumerate(ONE.choices):
        assert {decisions[place] for decisions in drawn} == set(range(count))


@pytest.mark.parametrize(
    ("decisions", "message"),
    [
        ((0,) * 5, "6 decisions make a policy, got 5"),
        ((16, 0, 0, 0, 0, 0), "decision 0 must be within 0 and 15, got 16"),
        ((0, 0, 0, 0, 11, 0), "decision 4 must be within 0 and 10, got 11"),
        ((0, 0, -1, 0, 0, 0), "decision 2 must be within 0 and 9, got -1"),
    ],
)
def test_decisions_beyond_the_space_are_refused(decisions, message):
    with pytest.raises(ConfigError, match=message):
        ONE.policy(decisions, name="x")


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (pair(Operation(name="invert")), "1 sub-policies of 2 operations, got 1 of .1."),
        (autoaugment_cifar10(), "got 25 of .2."),
        (pair(*[Operation(name="invert", probability=0.25)] * 2), "whole tenths, got 0.25"),
        (pair(*[Operation(name="identity")] * 2), "no operation like identity"),
        (pair(*[Operation(name="rotate", magnitude=31)] * 2), "no level for rotate 31"),
    ],
)
def test_a_policy_outside_the_discrete_space_is_refused(policy, message):
    with pytest.raises(ConfigError, match=message):
        ONE.decisions(policy)


def test_a_space_without_sub_policies_is_refused():
    for space in (DiscreteSpace, ContinuousSpace):
        with pytest.raises(ConfigError, match="num_sub_policies must be at least 1, got 0"):
            space(num_sub_policies=0)


def test_points_reach_both_ends_of_every_range_but_not_other_images():
    assert PAPER_OPS[:15] == UNPAIRED_OPS
    for place, op in enumerate(UNPAIRED_OPS):
        policy = POINTS.policy((place, 1, 0, place, 1, 1), name="ends")
        meaning = OPS[op].magnitude
        ends = (None, None) if meaning is None else (meaning.low, meaning.high)
        found = tuple(operation.magnitude for operation in policy.sub_policies[0].operations)
        assert found == pytest.approx(ends) if meaning else found == ends


@given(OPERATION, OPERATION)
def test_the_point_of_a_policy_makes_the_same_policy_up_to_rounding(first, second):
    policy = POINTS.policy((*first, *second), name="x")
    again = POINTS.policy(POINTS.point(policy), name="x")
    for ours, theirs in zip(
        policy.sub_policies[0].operations, again.sub_policies[0].operations, strict=True
    ):
        assert (ours.name, ours.probability) == (theirs.name, theirs.probability)
        assert ours.ends == pytest.approx(theirs.ends, abs=1e-9)


@given(UNIT, UNIT)
def test_a_point_with_a_plain_range_survives_the_way_to_a_policy_and_back(probability, strength):
    point = (4, probability, strength, 10, strength, probability)
    assert POINTS.point(POINTS.policy(point, name="x")) == pytest.approx(point)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ((0, 0, 0), "6 coordinates make a policy, got 3"),
        ((15, 0, 0, 0, 0, 0), "operation 0: type must be within 0 and 14, got 15"),
        ((0, 0, 0, 0.5, 0, 0), "operation 1: type must be within 0 and 14, got 0.5"),
        ((0, 1.1, 0, 0, 0, 0), "operation 0: probability must be within 0 and 1, got 1.1"),
        ((0, 0, 0, 0, 0, float("nan")), "operation 1: strength must be within 0 and 1, got nan"),
    ],
)
def test_points_beyond_the_space_are_refused(point, message):
    with pytest.raises(ConfigError, match=message):
        POINTS.policy(point, name="x")


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (Operation(name="sample-pairing", magnitude=0.2), "no operation sample-pairing"),
        (Operation(name="rotate", magnitude=-5), "rotate: no strength means -5.0"),
        (Operation(name="rotate", magnitude=5, mirrored=False), "with mirrored=False"),
    ],
)
def test_a_policy_outside_the_continuous_space_is_refused(operation, message):
    with pytest.raises(ConfigError, match=message):
        POINTS.point(pair(operation, operation))


def test_best_policies_are_concatenated_as_they_are_and_united_without_repetitions():
    rows = [(("Rotate", 0.5, 3), ("Invert", 0.1, None)), (("Rotate", 0.7, 9), ("Invert", 1, None))]
    other = (("Invert", 0.1, None), ("Rotate", 0.5, 3))
    first, second, third = (
        policy_from_levels([row], name="x", mapping="autoaugment") for row in (*rows, other)
    )
    assert len(concatenate([first, second, third], name="all").sub_policies) == 3
    united = union([first, second, third], name="all")
    assert united.sub_policies == first.sub_policies + third.sub_policies


def test_randaugments_grid_has_every_pair_once():
    grid = randaugment_grid(num_ops=(1, 2, 2), magnitudes=(4, 9))
    assert grid == ((1, 4), (1, 9), (2, 4), (2, 9))
    assert (2, 9) in randaugment_grid()


@pytest.mark.parametrize("setting", randaugment_grid(magnitudes=(0, 7, 9, 30)))
def test_a_grid_point_is_read_from_its_policy(setting):
    num_ops, magnitude = setting
    assert randaugment_parameters(randaugment(num_ops=num_ops, magnitude=magnitude)) == setting


def test_a_policy_that_is_not_randaugments_has_no_grid_point():
    with pytest.raises(ConfigError, match="'trivialaugment': no number of operations and level"):
        randaugment_parameters(trivialaugment())


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"num_ops": ()}, "num_ops: at least one value"),
        ({"magnitudes": ()}, "magnitudes: at least one value"),
        ({"num_ops": (0,)}, "num_ops must be at least 1, got 0"),
        ({"magnitudes": (31,)}, "magnitude must be within 0 and 30, got 31"),
    ],
)
def test_a_grid_that_randaugment_cannot_have_is_refused(axes, message):
    with pytest.raises(ConfigError, match=message):
        randaugment_grid(**axes)
