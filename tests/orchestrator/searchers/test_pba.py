import numpy as np
import pytest

from orchestrator.errors import StageFailed
from orchestrator.searchers.chance import generator
from orchestrator.searchers.pba import (
    Member,
    NextMember,
    Segment,
    evolve,
    explore,
    lineage_schedule,
    start,
    step,
)
from search_spaces.population import POPULATION_TOPS
from trainer.errors import ConfigError

ROTATION = 9  # place of the first rotation's magnitude


def filled(value: int) -> tuple[int, ...]:
    return (value,) * 60


def members(*scores: float | None) -> list[Member]:
    return [Member(parameters=filled(n % 10), score=score) for n, score in enumerate(scores)]


def parents(population) -> list[int]:
    return [member.parent for member in population]


def test_a_population_starts_without_any_augmentation():
    assert start(3) == tuple(NextMember(parent=n, parameters=filled(0)) for n in range(3))


def test_the_worst_quarter_goes_on_from_the_best_and_the_rest_as_they_are():
    population = members(0.5, 0.9, 0.1, 0.6, 0.2, 0.8, 0.7, 0.4)
    following = step(population, seed=0, generation=0)
    assert {parents(following)[n] for n in (2, 4)} <= {1, 5}
    for place in (0, 1, 3, 5, 6, 7):
        expected = NextMember(parent=place, parameters=population[place].parameters)
        assert following[place] == expected


def test_every_one_of_the_best_quarter_is_copied_sooner_or_later():
    population = members(*range(16))
    copied = {
        parent
        for generation in range(30)
        for parent in parents(step(population, seed=0, generation=generation))[:4]
    }
    assert copied == {12, 13, 14, 15}


def test_all_that_failed_are_replaced_even_more_than_a_quarter():
    population = members(None, 0.2, None, 0.3, None, 0.1, 0.4, 0.5)
    following = parents(step(population, seed=0, generation=0))
    assert {following[n] for n in (0, 2, 4)} <= {6, 7}
    assert [following[n] for n in (1, 3, 5, 6, 7)] == [1, 3, 5, 6, 7]


def test_of_equal_members_the_later_is_the_worse():
    assert parents(step(members(0.5, 0.5, 0.5, 0.5), seed=0, generation=0)) == [0, 1, 2, 0]


def test_a_generation_without_a_survivor_ends_the_search():
    with pytest.raises(StageFailed, match="none of 2 members survived generation 3"):
        step(members(None, None), seed=0, generation=3)


def test_exploring_moves_by_at_most_three_or_draws_anew_within_the_limits():
    middle = tuple(top // 2 for top in POPULATION_TOPS)
    drawn = np.array([explore(middle, generator(0, n)) for n in range(500)])
    moves = drawn - np.array(middle)
    assert (drawn >= 0).all()
    assert (drawn <= np.array(POPULATION_TOPS)).all()
    assert (drawn.min(0) == 0).all()
    assert (drawn.max(0) == np.array(POPULATION_TOPS)).all()
    # of what is drawn anew, 4 probabilities of 11 and 3 magnitudes of 10 are farther off than 3
    assert np.mean(np.abs(moves) > 3) == pytest.approx(0.2 * (4 / 11 + 3 / 10) / 2, abs=0.01)
    assert np.mean(moves == 0) == pytest.approx(0.8 / 4 + 0.2 * (1 / 11 + 1 / 10) / 2, abs=0.01)
    assert np.mean(moves[:, ::2] > 0) == pytest.approx(np.mean(moves[:, ::2] < 0), abs=0.02)


def test_a_move_ends_at_the_limits():
    drawn = np.array([explore(POPULATION_TOPS, generator(0, n)) for n in range(200)])
    # half of the moves go up and a quarter by nothing, both of which stay
    stays = 0.8 * (0.5 + 0.5 / 4) + 0.2 * (1 / 11 + 1 / 10) / 2
    assert np.mean(drawn == np.array(POPULATION_TOPS)) == pytest.approx(stays, abs=0.01)


def test_the_same_scores_give_the_same_generations_and_more_scores_only_add():
    scores = np.random.default_rng(0).random((6, 4)).tolist()
    whole = evolve(scores, size=4, seed=5)
    assert len(whole) == 7
    assert evolve(scores[:3], size=4, seed=5) == whole[:4]
    assert evolve(scores, size=4, seed=6) != whole


def trained(seed: int, *, informed: bool, generations: int = 20) -> int:
    """Distance from the planted magnitude 7 of the winner's last one."""
    rng = np.random.default_rng(seed)
    scores: list[list[float | None]] = []
    accuracy = np.zeros(4)
    for _ in range(generations):
        population = evolve(scores, size=4, seed=seed)[-1]
        off = np.array([abs(member.parameters[ROTATION] - 7) for member in population])
        accuracy = accuracy[parents(population)] + 0.001 * (9 - off)
        measured = accuracy + rng.normal(0, 0.003, 4)
        scores.append((measured if informed else rng.random(4)).tolist())
    return int(off[int(np.argmax(scores[-1]))])


def test_four_members_move_towards_a_planted_magnitude_and_by_chance_they_do_not():
    found = np.mean([trained(seed, informed=True) for seed in range(10)])
    drifted = np.mean([trained(seed, informed=False) for seed in range(10)])
    assert found < 2
    assert drifted > 3


def test_a_lineage_lasts_to_the_last_epoch_and_equal_neighbours_are_one():
    lineage = [filled(0), filled(3), filled(3), filled(8)]
    assert lineage_schedule(lineage, interval=3, epochs=11) == (
        Segment(epochs=3, parameters=filled(0)),
        Segment(epochs=6, parameters=filled(3)),
        Segment(epochs=2, parameters=filled(8)),
    )
    unfinished = lineage_schedule(lineage[:2], interval=3, epochs=11)
    assert [segment.epochs for segment in unfinished] == [3, 8]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: start(1), "population needs at least 2 members, got 1"),
        (lambda: step(members(0.1), seed=0, generation=0), "at least 2 members, got 1"),
        (lambda: evolve([[0.1]], size=2, seed=0), "generation 0 has 1 scores for 2 members"),
        (lambda: step(members(0.1, 0.2), seed=-1, generation=0), "seed must not be negative"),
        (lambda: Member(parameters=(0,), score=0.1), "60 parameters make a policy, got 1"),
        (lambda: Member(parameters=filled(0), score=float("nan")), "score must be finite"),
        (lambda: Member(parameters=filled(10), score=0.1), "parameter 1 must be within 0 and 9"),
        (
            lambda: lineage_schedule([filled(0)] * 2, interval=3, epochs=3),
            "3 epochs in generations of 3 do not hold 2 of them",
        ),
        (
            lambda: lineage_schedule([], interval=3, epochs=3),
            "do not hold 0 of them",
        ),
        (
            lambda: lineage_schedule([filled(0)], interval=0, epochs=4),
            "interval must be at least 1 epoch, got 0",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(call, message):
    with pytest.raises(ConfigError, match=message):
        call()
