import pytest

from orchestrator.searchers.tpe import Categorical, LogUniform, Uniform, suggest

SPACE = (LogUniform("lr", 1e-3, 1e-1), Uniform("probability", -1, 1), Categorical("op", 4))


def observed(score, count=24, seed=0):
    """Points by the searcher itself, eight at a time, each with its score."""
    seen = ()
    while len(seen) < count:
        points = suggest(SPACE, seen, count=8, seed=seed)
        seen += tuple((point, score(point)) for point in points)
    return seen


def test_points_lie_in_the_space_and_choices_are_whole():
    for lr, probability, op in suggest(SPACE, (), count=40, seed=0):
        assert 1e-3 <= lr <= 1e-1
        assert -1 <= probability <= 1
        assert op in range(4)


def test_every_choice_is_tried():
    assert {op for *_, op in suggest(SPACE, (), count=40, seed=0)} == {0, 1, 2, 3}


def test_the_same_observations_give_the_same_points_without_the_cache_too():
    seen = observed(lambda point: point[1])
    points = suggest(SPACE, seen, count=4, seed=1)
    suggest.cache_clear()
    assert suggest(SPACE, seen, count=4, seed=1) == points
    assert suggest(SPACE, seen, count=4, seed=2) != points


@pytest.mark.parametrize("op", range(4))
def test_points_gather_where_the_scores_are_high(op):
    seen = observed(lambda point: (point[2] == op) - abs(point[1] - 0.5), count=64)
    last = [point for point, _ in seen[-16:]]
    assert sum(point[2] == op for point in last) > 8
    assert sum(abs(point[1] - 0.5) for point in last) / 16 < 0.5
