import numpy as np
import pytest

from orchestrator.errors import StageFailed
from orchestrator.searchers.fast_autoaugment import (
    FastAutoAugmentSettings,
    axes,
    chosen,
    propose,
)
from orchestrator.searchers.observation import Observation, best
from search_spaces.augmentation import UNPAIRED_OPS, ContinuousSpace
from trainer.errors import ConfigError

ONE = ContinuousSpace(num_sub_policies=1)
SETTINGS = FastAutoAugmentSettings(keep=2)
GOOD = UNPAIRED_OPS.index("shear-x")


def truth(point) -> float:
    """Better the likelier and the stronger the shear, worse the likelier anything else."""
    operations = zip(point[::3], point[1::3], point[2::3], strict=True)
    return 0.8 + sum(
        0.05 * probability * (strength if op == GOOD else -0.5)
        for op, probability, strength in operations
    )


def search(count, *, fold=0, at_once=3, space=ONE, seed=0, informed=True):
    rng = np.random.default_rng([seed, fold])
    seen = []
    while len(seen) < count:
        points = propose(seen, count=at_once, seed=seed, fold=fold, space=space, settings=SETTINGS)
        rewards = rng.normal(0, 0.01, len(points))
        seen += [
            Observation(decisions=p, reward=float(noise) + truth(p) * informed)
            for p, noise in zip(points, rewards, strict=True)
        ]
    return seen[:count]


def next_batch(seen, **changes):
    asked = {"count": 99, "seed": 0, "fold": 0, "space": ONE, "settings": SETTINGS, **changes}
    return propose(seen, **asked)


def observation(*point: float, reward: float | None) -> Observation[tuple[float, ...]]:
    return Observation(decisions=point, reward=reward)


def test_a_policy_of_five_sub_policies_has_thirty_axes():
    names = [axis.name for axis in axes(ContinuousSpace())]
    assert (len(names), len(set(names))) == (30, 30)


@pytest.mark.parametrize("ended", [0, 2, 12, 21])
def test_a_resumed_fold_proposes_what_an_uninterrupted_one_would(ended):
    whole = search(24)
    rest = next_batch(whole[:ended])
    assert rest == tuple(seen.decisions for seen in whole[ended : ended + len(rest)])
    assert len(rest) == SETTINGS.batch - ended % SETTINGS.batch


def test_proposals_do_not_depend_on_how_many_are_asked_for_at_a_time():
    assert search(8, at_once=1) == search(8, at_once=99)


def test_folds_and_seeds_search_apart():
    first = {next_batch([], fold=fold, seed=seed) for fold in range(3) for seed in range(3)}
    assert len(first) == 9


def test_a_batch_that_failed_altogether_is_followed_by_other_policies():
    tried = next_batch([])
    seen = [observation(*point, reward=None) for point in tried]
    assert not set(tried) & set(next_batch(seen))


def test_a_planted_truth_is_found_better_than_by_chance():
    def found(seen):
        return np.mean([truth(child.decisions) for child in best(seen, 5)])

    for seed in range(3):
        learnt, control = (search(100, seed=seed, informed=i) for i in (True, False))
        drawn = [observation(*c.decisions, reward=truth(c.decisions) + c.reward) for c in control]
        assert found(learnt) > found(drawn) + 0.01


def test_the_best_of_every_fold_are_united_without_repeated_operations():
    folds = [
        [
            observation(0, 0.1, 0.1, 6, 0.1, 0, reward=0.1),
            observation(0, 0.9, 0.9, 6, 0.9, 0, reward=0.9),
            observation(4, 0.5, 0.5, 5, 0.5, 0, reward=0.5),
        ],
        [
            observation(0, 0.3, 0.3, 6, 0.3, 0, reward=0.99),
            observation(7, 1, 0, 6, 1, 0, reward=None),
        ],
    ]
    policy = chosen(folds, space=ONE, settings=SETTINGS)
    names = [[op.name for op in sub.operations] for sub in policy.sub_policies]
    assert names == [["shear-x", "invert"], ["rotate", "autocontrast"]]
    assert policy.sub_policies[0].operations[0].probability == 0.9


def test_a_fold_in_which_everything_failed_has_no_result():
    folds = [[observation(0, 0, 0, 0, 0, 0, reward=0.1)], []]
    with pytest.raises(StageFailed, match="none of 0 policies of fold 1 has a score"):
        chosen(folds, space=ONE, settings=SETTINGS)


def test_observations_of_another_space_are_refused():
    with pytest.raises(ConfigError, match="operation 0: type must be within 0 and 14, got 15"):
        next_batch([observation(15, 0, 0, 0, 0, 0, reward=0.1)])


@pytest.mark.parametrize("name", ["batch", "keep"])
def test_settings_that_cannot_be_meant_are_refused(name):
    with pytest.raises(ConfigError, match=f"fast-autoaugment: {name} must be at least 1, got 0"):
        FastAutoAugmentSettings(**{name: 0})
