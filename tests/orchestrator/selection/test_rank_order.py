import pytest

from orchestrator.selection.halving import HalvingPlan
from orchestrator.selection.rank_order import order_movement

PLAN = HalvingPlan(horizon=8, num_trials=6, num_finalists=2, rungs=(2, 4), keep=(4, 3))


def curves(early, late):
    return {
        f"t{i}": {2: a / 10, 4: b / 10} for i, (a, b) in enumerate(zip(early, late, strict=True))
    }


@pytest.mark.parametrize(
    ("late", "tau", "word"),
    [
        ((1, 2, 3, 4, 5), 1.0, "settled"),
        ((1, 2, 3, 5, 4), 0.8, "settled"),
        ((2, 1, 3, 5, 4), 0.6, "still moving"),
        ((3, 1, 2, 5, 4), 0.4, "still moving"),
        ((5, 4, 3, 2, 1), -1.0, "no order yet"),
    ],
)
def test_movement_is_kendalls_tau_in_a_word(late, tau, word):
    movement = order_movement(PLAN, curves((1, 2, 3, 4, 5), late))[0]
    assert movement.correlation == pytest.approx(tau)
    assert (movement.from_epoch, movement.to_epoch, movement.word) == (2, 4, word)


def test_only_trials_that_reached_both_rungs_are_compared():
    scores = {
        **curves((1, 2, 3, 4), (1, 2, 3, 4)),
        "gone": {2: 0.9},
        "nan": {2: 0.5, 4: float("nan")},
    }
    assert [m.num_trials for m in order_movement(PLAN, scores)] == [4, 0]


@pytest.mark.parametrize("late", [(1, 2, 3), (5, 5, 5, 5, 5)])
def test_three_trials_or_equal_scores_say_nothing(late):
    movement = order_movement(PLAN, curves(range(len(late)), late))[0]
    assert movement.correlation is None
    assert movement.word == "too few to tell"
