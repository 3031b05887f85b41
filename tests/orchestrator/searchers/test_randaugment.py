import pytest

from orchestrator.errors import StageFailed
from orchestrator.searchers.observation import Observation
from orchestrator.searchers.randaugment import chosen, propose
from search_spaces.augmentation import randaugment_grid
from trainer.augment.presets import randaugment

GRID = randaugment_grid()


def scored(settings, *rewards):
    return [Observation(decisions=s, reward=r) for s, r in zip(settings, rewards, strict=True)]


def test_every_point_of_the_grid_comes_once_and_then_nothing():
    order = propose([], count=99, seed=0, grid=GRID)
    assert sorted(order) == sorted(GRID)
    assert propose(scored(order, *[0.5] * len(GRID)), count=4, seed=0, grid=GRID) == ()


def test_a_resumed_grid_goes_on_in_the_same_order():
    order = propose([], count=99, seed=0, grid=GRID)
    seen = scored(order[:5], 0.1, None, 0.3, 0.2, 0.4)
    assert propose(seen, count=3, seed=0, grid=GRID) == order[5:8]
    assert propose([], count=99, seed=1, grid=GRID) != order


def test_the_best_point_makes_the_policy():
    seen = scored(((1, 9), (3, 15), (2, 3)), 0.5, 0.7, None)
    assert chosen(seen) == randaugment(num_ops=3, magnitude=15)


def test_a_grid_in_which_everything_failed_has_no_result():
    with pytest.raises(StageFailed, match="none of 1 settings has a score"):
        chosen(scored(((1, 9),), None))
