import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from orchestrator.selection.agreement import Agreement
from orchestrator.selection.intervals import METHOD, ONE_SEED, paired_noise, pooled_noise, summarise

accuracies = st.floats(0, 1)
some_runs = st.lists(st.lists(accuracies, min_size=1, max_size=5), min_size=1, max_size=4)


def numbered(*values_of_each):
    return {f"c{i}": dict(enumerate(values)) for i, values in enumerate(values_of_each)}


@example([[0.0, 2.7481282642166523e-148]], 1)  # a variance whose inverse has no square
@given(some_runs, st.integers(1, 100_000))
def test_limits_hold_the_mean_and_stay_fractions(values, num_images):
    for estimate in summarise(numbered(*values), num_images=num_images):
        low, high = estimate.interval
        assert 0 <= low <= estimate.mean + 1e-12
        assert estimate.mean - 1e-12 <= high <= 1
        assert low < high


def test_with_endless_images_only_students_t_is_left():
    values = [0.80, 0.82, 0.81, 0.85]
    (estimate,) = summarise(numbered(values), num_images=10**12)
    half = stats.t.ppf(0.975, 3) * np.std(values, ddof=1) / 2
    assert estimate.interval == pytest.approx((0.82 - half, 0.82 + half), abs=1e-5)
    assert estimate.sd == pytest.approx(np.std(values, ddof=1))
    assert estimate.method == METHOD


def test_with_one_seed_only_wilson_is_left_and_the_method_says_so():
    (estimate,) = summarise(numbered([0.98]), num_images=100)
    wilson = stats.binomtest(98, 100).proportion_ci(method="wilson")
    assert estimate.interval == pytest.approx((wilson.low, wilson.high))
    assert (estimate.method, estimate.sd, estimate.num_seeds) == (ONE_SEED, None, 1)


def test_a_single_run_has_its_sampling_error_to_itself():
    seen, unseen = (
        summarise(numbered([0.9]), num_images=100, agreement=Agreement(within=within))
        for within in (0.5, 1.0)
    )
    assert seen == unseen


def test_a_perfect_score_is_not_a_certain_one():
    (estimate,) = summarise(numbered([1.0, 1.0, 1.0]), num_images=100)
    assert estimate.interval[0] == pytest.approx(0.963, abs=0.001)
    assert estimate.interval[1] == 1


def test_more_seeds_do_not_remove_the_splits_error_unless_the_seeds_disagree():
    values = [0.7, 0.71, 0.69, 0.7] * 25
    shared, apart = (
        summarise(numbered(values), num_images=400, agreement=Agreement(within=within))[0].interval
        for within in (1.0, 0.0)
    )
    split = 1.96 * math.sqrt(0.7 * 0.3 / 400)
    assert (shared[1] - shared[0]) / 2 == pytest.approx(split, rel=0.03)
    assert apart[1] - apart[0] < 0.005


def test_the_noise_is_pooled_over_candidates():
    noise = pooled_noise(numbered([0.1, 0.3], [0.5, 0.5, 0.8], [0.9]))
    assert (noise.variance, noise.df) == (pytest.approx((0.02 + 0.06) / 3), 3)


def test_what_a_seed_does_to_all_candidates_leaves_the_paired_noise():
    values = np.array([0.7, 0.75, 0.8])[:, None] + np.array([-0.05, 0.0, 0.02, 0.03])
    noise = paired_noise(numbered(*values.tolist()))
    assert noise.variance == pytest.approx(0, abs=1e-20)
    assert noise.df == 2 * 3


def test_two_candidates_paired_noise_is_the_paired_t_tests():
    a, b = np.array([0.7, 0.72, 0.69]), np.array([0.71, 0.77, 0.7])
    noise = paired_noise(numbered(a.tolist(), b.tolist()))
    assert (2 * noise.variance, noise.df) == (pytest.approx(np.var(a - b, ddof=1)), 2)


def test_a_missing_run_costs_a_degree_of_freedom_and_no_more():
    runs = numbered([0.7, 0.72, 0.69], [0.71, 0.77, 0.7])
    del runs["c1"][2]
    assert paired_noise(runs).df == 1
    assert paired_noise(numbered([0.7], [0.8])).df == 0


@pytest.mark.parametrize("value", [float("nan"), -0.1, 81.5])
def test_what_is_no_accuracy_is_refused(value):
    with pytest.raises(ValueError, match=r"c1, seed 0: .* is not an accuracy"):
        summarise(numbered([0.5], [value]), num_images=100)


def test_a_candidate_without_runs_is_refused():
    with pytest.raises(ValueError, match="c0 has no finished run"):
        summarise({"c0": {}}, num_images=100)
