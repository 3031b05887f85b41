from itertools import product

import numpy as np
import pytest
import torch

from orchestrator.searchers.policy_controller import (
    Adam,
    DecisionNetwork,
    LearningRule,
    PolicyController,
)

CHOICES = (2, 3, 2, 2, 3, 2)
EVERY = torch.tensor(list(product(*(range(count) for count in CHOICES))))
RULE = LearningRule(lr=0.02, epochs=4, clip=0.2, entropy_weight=0, baseline_decay=0.95)


def network(**changes) -> DecisionNetwork:
    net = DecisionNetwork(CHOICES, kinds=3, units=8, rng=np.random.default_rng(0))
    with torch.no_grad():
        for weights in net.parameters():
            weights.mul_(10)  # far from uniform
    return net


def controller() -> PolicyController:
    return PolicyController(CHOICES, kinds=3, units=8, rule=RULE, rng=np.random.default_rng(0))


def test_the_probabilities_of_all_decisions_add_up_to_one():
    logs, _ = network().log_probabilities(EVERY)
    assert logs.shape == (len(EVERY), len(CHOICES))
    assert float(logs.sum(1).exp().sum().detach()) == pytest.approx(1, abs=1e-5)


def test_decisions_are_taken_as_often_as_their_probabilities_say():
    net = network()
    with torch.no_grad():
        taken = net.sample(torch.rand(20_000, 6, generator=torch.Generator().manual_seed(0)))
        expected = net.log_probabilities(EVERY)[0].sum(1).exp()
    counts = (taken.unsqueeze(0) == EVERY.unsqueeze(1)).all(-1).sum(1) / 20_000
    assert float((counts - expected).abs().max()) < 0.01


def test_the_highest_draw_takes_the_last_choice():
    highest = torch.full((1, 6), float(np.nextafter(np.float32(1), np.float32(0))))
    with torch.no_grad():
        assert network().sample(highest).tolist() == [[1, 2, 1, 1, 2, 1]]


def test_a_newborn_network_is_within_the_published_range_and_near_undecided():
    net = DecisionNetwork(CHOICES, kinds=3, units=100, rng=np.random.default_rng(0))
    assert all(float(weights.detach().abs().max()) <= 0.1 for weights in net.parameters())
    entropy = net.log_probabilities(EVERY)[1].detach().mean(0)
    assert entropy.numpy() == pytest.approx(np.log(CHOICES), rel=0.01)


def test_learning_makes_a_new_controller_and_leaves_the_old_one():
    old = controller()
    before = old.sample(50, np.random.default_rng(1))
    new = old.learn([(1, 2, 1, 1, 2, 1), (0, 0, 0, 0, 0, 0)] * 5, [0.9, 0.1] * 5)
    assert old.sample(50, np.random.default_rng(1)) == before
    assert new.sample(50, np.random.default_rng(1)) != before


def test_adam_goes_where_torchs_goes():
    start, target = torch.linspace(-1, 1, 7), torch.tensor([3.0, 0, -2, 0.1, 5, -5, 1e-3])
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    adam, peer = Adam([ours], lr=0.05), torch.optim.Adam([theirs], lr=0.05)
    for _ in range(30):
        adam.step([ours], torch.autograd.grad(((ours - target) ** 2).sum(), [ours]))
        peer.zero_grad()
        ((theirs - target) ** 2).sum().backward()
        peer.step()
    torch.testing.assert_close(ours, theirs)


def test_rewarded_decisions_become_likelier_and_rewards_count_by_their_differences():
    good, bad = (1, 2, 1, 1, 2, 1), (0, 0, 0, 0, 0, 0)
    for scale in (1e-3, 1.0, 1e3):
        learner = controller()
        for _ in range(20):
            learner = learner.learn([good, bad] * 5, [5 + scale, 5] * 5)
        taken = learner.sample(100, np.random.default_rng(0))
        assert sum(map(sum, taken)) > 6 * 100
