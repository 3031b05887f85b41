import pytest

from orchestrator.searchers.observation import Observation, best
from trainer.errors import ConfigError


def observed(*rewards: float | None) -> list[Observation[tuple[int]]]:
    return [Observation(decisions=(n,), reward=reward) for n, reward in enumerate(rewards)]


def test_the_best_come_first_and_of_equals_the_first_proposed():
    seen = observed(0.2, 0.5, None, 0.1, 0.5)
    assert [child.decisions for child in best(seen, 3)] == [(1,), (4,), (0,)]


def test_what_failed_is_never_among_the_best():
    assert len(best(observed(None, 0.1, None), 3)) == 1
    assert best(observed(None), 1) == ()


def test_what_was_seen_twice_counts_once_by_its_highest_reward():
    seen = [*observed(0.3, 0.2), Observation(decisions=(1,), reward=0.4)]
    assert [child.reward for child in best(seen, 3)] == [0.4, 0.3]


@pytest.mark.parametrize("reward", [float("nan"), float("inf")])
def test_a_reward_that_is_not_finite_is_refused(reward):
    with pytest.raises(ConfigError, match=f"must be finite or None, got {reward}"):
        Observation(decisions=(1,), reward=reward)


def test_asking_for_no_best_is_refused():
    with pytest.raises(ConfigError, match="count must be at least 1, got 0"):
        best(observed(0.1), 0)
