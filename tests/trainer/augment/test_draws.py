"""Chance: 10,000 draws against the probabilities that a policy states.

Bounds are five standard errors, and the seeds are fixed.
"""

from __future__ import annotations

from math import sqrt

import pytest
import torch
from torch import Tensor

from trainer.augment.draws import OP_INDEX, Draws, draw
from trainer.augment.policy import (
    Operation,
    Policy,
    PopulationPolicy,
    RandomPolicy,
    SubPolicy,
    Uniform,
)
from trainer.augment.presets import autoaugment_cifar10, randaugment, trivialaugment

DRAWS = 10_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def assert_share(hits: Tensor, expected: float) -> None:
    margin = 5 * sqrt(expected * (1 - expected) / hits.numel())
    assert abs(float(hits.double().mean()) - expected) <= margin


def only(*operations: Operation) -> Policy:
    return Policy(name="one", sub_policies=(SubPolicy(operations=operations),))


def test_sub_policies_are_equally_likely_and_whole() -> None:
    policy = Policy(
        name="marked",
        sub_policies=tuple(
            SubPolicy(operations=(Operation(name="solarize", magnitude=index),) * 2)
            for index in range(25)
        ),
    )
    magnitude = draw(policy, DRAWS, seeded()).magnitude
    assert magnitude[0].equal(magnitude[1])
    for index in range(25):
        assert_share(magnitude[0] == index, 1 / 25)


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.6, 1.0])
def test_each_operation_has_its_own_coin(probability: float) -> None:
    coin = Operation(name="invert", probability=probability)
    applied = draw(only(coin, coin), DRAWS, seeded()).op == OP_INDEX["invert"]
    assert_share(applied[0], probability)
    assert_share(applied[1], probability)
    assert_share(applied[0] & applied[1], probability**2)


def test_half_of_the_signs_are_turned_and_none_vanish() -> None:
    magnitude = draw(only(Operation(name="rotate", magnitude=30)), DRAWS, seeded()).magnitude
    assert_share(magnitude == 30, 0.5)
    assert_share(magnitude == -30, 0.5)
    factor = Operation(name="color", magnitude=1.9, mirrored=True)
    magnitude = draw(only(factor), DRAWS, seeded()).magnitude
    assert sorted(set(magnitude[0].tolist())) == pytest.approx([0.1, 1.9])
    assert_share(magnitude > 1, 0.5)


def test_a_fixed_sign_stays() -> None:
    left = Operation(name="rotate", magnitude=-30, mirrored=False)
    assert (draw(only(left), 100, seeded()).magnitude == -30).all()


def test_a_uniform_magnitude_is_even_over_its_range() -> None:
    drawn = draw(
        only(Operation(name="solarize", magnitude=Uniform(low=64, high=192))), DRAWS, seeded()
    ).magnitude
    assert drawn.min() >= 64
    assert drawn.max() <= 192
    for quarter in range(4):
        low = 64 + 32 * quarter
        assert_share((drawn >= low) & (drawn < low + 32), 0.25)


def test_a_binned_magnitude_takes_each_bin_equally_with_both_ends() -> None:
    bins = Operation(name="solarize", magnitude=Uniform(low=0, high=240, bins=31))
    drawn = draw(only(bins), DRAWS, seeded()).magnitude
    assert sorted(set(drawn[0].tolist())) == [8.0 * index for index in range(31)]
    for index in range(31):
        assert_share(drawn == 8 * index, 1 / 31)


def test_a_drawn_number_of_bits_is_whole() -> None:
    bits = Operation(name="posterize", magnitude=Uniform(low=2, high=8, bins=31))
    drawn = draw(only(bits), DRAWS, seeded()).magnitude[0]
    assert set(drawn.tolist()) == {2, 3, 4, 5, 6, 7, 8}


@pytest.mark.parametrize("policy", [randaugment(), trivialaugment()], ids=lambda p: p.name)
def test_a_random_policys_operations_are_equally_likely_at_each_step(policy: RandomPolicy) -> None:
    op = draw(policy, DRAWS, seeded()).op
    assert op.shape == (policy.num_ops, DRAWS)
    for step in op:
        for operation in policy.operations:
            assert_share(step == OP_INDEX[operation.name], 1 / 14)


def test_the_steps_of_a_random_policy_are_independent() -> None:
    op = draw(randaugment(num_ops=2), DRAWS, seeded()).op
    assert_share(op[0] == op[1], 1 / 14)


def test_a_published_sub_policy_is_applied_as_often_as_it_says() -> None:
    draws = draw(autoaugment_cifar10(), DRAWS, seeded())
    # Rotation appears once in 25 rows, with probability 0.7.
    assert_share(draws.op == OP_INDEX["rotate"], 0.7 / 25 / 2)


def test_partners_are_all_others_equally() -> None:
    draws = torch.cat([draw(randaugment(), 5, seeded(s)).partner for s in range(1000)])
    for own in range(5):
        assert not (draws[:, own] == own).any()
        for other in set(range(5)) - {own}:
            assert_share(draws[:, own] == other, 0.25)
    assert draw(randaugment(), 1, seeded()).partner.eq(0).all()


def test_places_cover_the_image_evenly() -> None:
    place = draw(randaugment(), DRAWS, seeded()).place
    assert_share(place[..., 0] < 0.25, 0.25)
    assert_share(place[..., 1] < 0.25, 0.25)


def test_what_is_decided_does_not_move_the_generator() -> None:
    never, always = (only(Operation(name="invert", probability=p)) for p in (0, 1))
    states = []
    for policy in (never, always):
        generator = seeded()
        draw(policy, 10, generator)
        states.append(generator.get_state())
    assert states[0].equal(states[1])


def population(
    *probabilities: float, counts: tuple[float, ...] = (0.2, 0.3, 0.5)
) -> PopulationPolicy:
    names = ("invert", "equalize", "autocontrast", "cutout")
    return PopulationPolicy(
        name="test",
        operations=tuple(
            Operation(name=name, probability=p, magnitude=0.2 if name == "cutout" else None)
            for name, p in zip(names, probabilities, strict=False)
        ),
        counts=counts,
    )


def applied(draws: Draws) -> Tensor:
    """How many operations each image got."""
    return (draws.op != OP_INDEX["identity"]).sum(0)


def test_a_population_policy_applies_none_one_or_two_as_often_as_it_says() -> None:
    numbers = applied(draw(population(1, 1, 1, 1), DRAWS, seeded()))
    for number, chance in enumerate((0.2, 0.3, 0.5)):
        assert_share(numbers == number, chance)


def test_a_population_policy_meets_its_operations_in_random_order_and_none_twice() -> None:
    first, second = draw(population(1, 1, 1, 1, counts=(0, 0, 1)), DRAWS, seeded()).op
    assert (first != second).all()
    for name in ("invert", "equalize", "autocontrast", "cutout"):
        assert_share(first == OP_INDEX[name], 1 / 4)
        assert_share(second == OP_INDEX[name], 1 / 4)


def test_operations_that_do_not_come_up_leave_their_turn_to_the_next() -> None:
    draws = draw(population(1, 0, 1, 0, counts=(0, 0, 1)), DRAWS, seeded())
    assert (applied(draws) == 2).all()
    assert set(draws.op.flatten().tolist()) == {OP_INDEX["invert"], OP_INDEX["autocontrast"]}


def test_with_rare_operations_fewer_are_applied_than_wanted() -> None:
    rare = applied(draw(population(0.1, 0.1, counts=(0, 0, 1)), DRAWS, seeded()))
    assert_share(rare == 2, 0.01)  # each coin by itself
    assert_share(rare == 1, 0.18)
