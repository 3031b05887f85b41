import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from orchestrator.errors import StageFailed
from orchestrator.searchers import autoaugment, policy_random
from orchestrator.searchers.autoaugment import (
    AutoAugmentSettings,
    chosen,
    for_budget,
    propose,
)
from orchestrator.searchers.observation import Observation, best
from search_spaces.augmentation import DiscreteSpace
from tests.planted import measured, planted_reward
from trainer.errors import ConfigError

ONE = DiscreteSpace(num_sub_policies=1)
SMALL = AutoAugmentSettings(batch=4, lr=0.01)
TRUTH = planted_reward(0)


def search(children: int, *, settings=SMALL, space=ONE, seed=0, truth=TRUTH, at_once=3):
    """Propose and measure until so many children ended."""
    seen = []
    while len(seen) < children:
        proposed = propose(seen, count=at_once, seed=seed, space=space, settings=settings)
        seen += measured(truth, proposed, seed=seed)
    return seen[:children]


def next_batch(seen, **changes):
    asked = {"count": 99, "seed": 0, "space": ONE, "settings": SMALL, **changes}
    return propose(seen, **asked)


def by_chance(children, seed, truth):
    drawn = policy_random.propose([], count=children, seed=seed, space=DiscreteSpace())
    return measured(truth, drawn, seed=seed)


def found(seen, truth):
    """The true accuracy of the sub-policies that a search would put together."""
    return np.mean([truth(child.decisions) for child in best(seen, 5)])


def failed(seen, *places):
    return [replace(s, reward=None) if n in places else s for n, s in enumerate(seen)]


@pytest.mark.parametrize("ended", [0, 3, 4, 9, 16])
def test_a_resumed_search_proposes_what_an_uninterrupted_one_would(ended):
    whole = search(20)
    autoaugment._folds.cache_clear()
    rest = propose(whole[:ended], count=99, seed=0, space=ONE, settings=SMALL)
    assert rest == tuple(seen.decisions for seen in whole[ended : ended + len(rest)])
    assert len(rest) == SMALL.batch - ended % SMALL.batch


def test_proposals_do_not_depend_on_how_many_are_asked_for_at_a_time():
    assert search(12, at_once=1) == search(12, at_once=3) == search(12, at_once=99)


def test_proposals_do_not_depend_on_what_else_is_searched_meanwhile():
    whole, other = search(8), search(8, truth=planted_reward(1))
    expected = next_batch(whole)
    assert next_batch(other) != expected
    assert next_batch(whole) == expected


def test_proposals_do_not_depend_on_the_number_of_threads():
    whole = search(8)
    expected = next_batch(whole)
    autoaugment._folds.cache_clear()
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert next_batch(whole) == expected
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_another_seed_proposes_other_children():
    assert next_batch([], seed=1) != next_batch([])


def test_what_a_failed_child_decided_is_not_learnt_from():
    seen = search(8)
    other = [replace(s, decisions=(0,) * 6) for s in seen]
    mixed = [other[n] if n == 5 else s for n, s in enumerate(seen)]
    assert next_batch(failed(seen, 5)) == next_batch(failed(mixed, 5)) != next_batch(seen)


def test_a_batch_that_failed_altogether_is_followed_by_other_children():
    seen = failed(search(4), 0, 1, 2, 3)
    following = next_batch(seen)
    assert len(set(following) | {s.decisions for s in seen}) == 8


def test_equal_rewards_teach_nothing():
    settings = SMALL.with_(entropy_weight=0)
    seen = [replace(s, reward=0.5) for s in search(4, settings=settings)]
    none = failed(seen, 0, 1, 2, 3)
    assert next_batch(seen, settings=settings) == next_batch(none, settings=settings)


def test_children_differ_at_first_and_agree_once_one_kind_was_rewarded():
    def truth(decisions):
        return 0.1 * (decisions[0] == 7)

    seen = search(160, truth=truth)
    first, last = ([s.decisions[0] == 7 for s in part] for part in (seen[:20], seen[-20:]))
    assert sum(first) < 10
    assert sum(last) > 15


@pytest.mark.parametrize(
    ("children", "batch"), [(1, 5), (100, 5), (300, 6), (500, 10), (1000, 20), (15_000, 20)]
)
def test_small_budgets_have_small_batches(children, batch):
    assert for_budget(children, SMALL) == SMALL.with_(batch=batch)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_two_hundred_children_already_find_more_than_chance(seed):
    truth, space = planted_reward(seed), DiscreteSpace()
    settings = for_budget(200, AutoAugmentSettings())
    learnt = search(200, settings=settings, space=space, seed=seed, truth=truth, at_once=5)
    assert found(learnt, truth) > found(by_chance(200, seed, truth), truth) + 0.005


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_planted_truth_is_found_better_than_by_chance_among_a_thousand(seed):
    truth, space, settings = planted_reward(seed), DiscreteSpace(), AutoAugmentSettings()
    learnt = search(1000, settings=settings, space=space, seed=seed, truth=truth, at_once=20)
    control = found(by_chance(1000, seed, truth), truth)
    assert found(learnt, truth) > control + 0.02
    assert np.mean([truth(child.decisions) for child in learnt[-20:]]) > control


def test_an_update_takes_less_than_a_hundredth_of_its_childrens_time():
    settings = AutoAugmentSettings()
    seen = search(20, settings=settings, space=DiscreteSpace(), at_once=20)
    started = time.process_time()
    propose(seen, count=20, seed=0, space=DiscreteSpace(), settings=settings)
    children_seconds = 20 * 10 / 4  # of 10 s each, four at a time
    assert time.process_time() - started < children_seconds / 100


def test_the_sub_policies_of_the_best_five_make_the_result():
    space = DiscreteSpace()
    seen = measured(TRUTH, policy_random.propose([], count=30, seed=0, space=space), seed=0)
    policy = chosen(failed(seen, 3), space=space, settings=AutoAugmentSettings())
    winner = max((s for n, s in enumerate(seen) if n != 3), key=lambda s: s.reward)
    assert len(policy.sub_policies) == 25
    assert policy.sub_policies[:5] == space.policy(winner.decisions, name="x").sub_policies


def test_a_search_in_which_every_child_failed_has_no_result():
    seen = failed(search(2), 0, 1)
    with pytest.raises(StageFailed, match="none of 2 children has a score"):
        chosen(seen, space=ONE, settings=SMALL)


@pytest.mark.parametrize("ended", [1, 4])
def test_observations_of_another_space_are_refused(ended):
    seen = [Observation(decisions=(16, 0, 0, 0, 0, 0), reward=0.1)] * ended
    with pytest.raises(ConfigError, match="decision 0 must be within 0 and 15, got 16"):
        next_batch(seen)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 0}, "autoaugment: batch must be at least 1, got 0"),
        ({"epochs": 0}, "autoaugment: epochs must be at least 1, got 0"),
        ({"lr": 0}, "autoaugment: lr must be positive, got 0"),
        ({"clip": -0.2}, "autoaugment: clip must be positive, got -0.2"),
        ({"entropy_weight": -1}, "entropy_weight must not be negative, got -1"),
        ({"units": 0}, "autoaugment: units must be at least 1, got 0"),
        ({"keep": 0}, "autoaugment: keep must be at least 1, got 0"),
        ({"baseline_decay": 1}, r"baseline_decay must be in \[0, 1\), got 1"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        AutoAugmentSettings(**changes)


def test_a_budget_of_no_children_is_refused():
    with pytest.raises(ConfigError, match="children must be at least 1, got 0"):
        for_budget(0, SMALL)


def test_a_negative_seed_is_refused():
    with pytest.raises(ConfigError, match="seed must not be negative, got -1"):
        next_batch([], seed=-1)


def test_torch_is_loaded_only_when_there_is_something_to_propose():
    code = "import sys, orchestrator.searchers.autoaugment; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
