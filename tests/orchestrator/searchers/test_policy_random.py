from orchestrator.searchers.observation import Observation
from orchestrator.searchers.policy_random import propose
from search_spaces.augmentation import DiscreteSpace

SPACE = DiscreteSpace()


def test_the_same_seed_gives_the_same_policies_however_many_at_a_time():
    at_once = propose([], count=6, seed=3, space=SPACE)
    seen = [Observation(decisions=decisions, reward=0.5) for decisions in at_once[:4]]
    assert propose(seen, count=2, seed=3, space=SPACE) == at_once[4:]
    assert propose([], count=6, seed=4, space=SPACE) != at_once


def test_policies_are_of_the_space_and_all_different():
    drawn = propose([], count=200, seed=0, space=SPACE)
    assert len(set(drawn)) == 200
    for decisions in drawn:
        SPACE.check(decisions)
