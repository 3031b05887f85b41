import numpy as np
import pytest

from orchestrator.selection.agreement import UNKNOWN, Agreement, measure_agreement


def runs(shared, *, noise, seeds=5, seed=0):
    """Flips each answer of `shared` with probability `noise`, anew for every seed."""
    rng = np.random.default_rng(seed)
    return shared ^ (rng.random((seeds, len(shared))) < noise)


def test_runs_that_are_right_on_the_same_images_agree_fully():
    shared = np.arange(100) % 5 > 0
    measured = measure_agreement({"a": np.stack([shared, shared]), "b": np.stack([shared] * 3)})
    assert measured.within == pytest.approx(1)
    assert measured.between == pytest.approx(1)


def test_independent_mistakes_agree_on_nothing():
    rng = np.random.default_rng(0)
    measured = measure_agreement({key: rng.random((4, 20_000)) < 0.8 for key in "ab"})
    assert measured.within == pytest.approx(0, abs=0.01)
    assert measured.between == pytest.approx(0, abs=0.01)


def test_agreement_is_the_correlation_of_two_runs():
    shared = np.random.default_rng(1).random(50_000) < 0.5
    correct = {"a": runs(shared, noise=0.1), "b": runs(shared, noise=0.1, seed=2)}
    phi = (1 - 2 * 0.1) ** 2  # two runs see one fair coin through noise
    measured = measure_agreement(correct)
    assert measured.within == pytest.approx(phi, abs=0.01)
    assert measured.between == pytest.approx(phi, abs=0.01)


def test_unlike_candidates_are_treated_with_caution():
    shared = np.random.default_rng(1).random(20_000) < 0.5
    same = {"a": runs(shared, noise=0.02), "b": runs(shared, noise=0.02, seed=2)}
    other = runs(np.random.default_rng(3).random(20_000) < 0.5, noise=0.2)
    assert measure_agreement({**same, "c": other}).between == pytest.approx(0, abs=0.02)
    assert measure_agreement({**same, "c": other}).within > 0.9


def test_what_cannot_be_measured_keeps_its_cautious_default():
    perfect = np.ones((3, 10), dtype=bool)
    assert measure_agreement({"a": perfect}) == UNKNOWN
    assert measure_agreement({}) == UNKNOWN
    assert measure_agreement({"a": np.array([[True, False]])}).within == 1


def test_candidates_cannot_agree_more_than_seeds_of_one():
    with pytest.raises(ValueError, match="between <= within"):
        Agreement(within=0.2, between=0.5)
