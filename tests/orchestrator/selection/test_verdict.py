import math
from itertools import permutations

import numpy as np
import pytest
from scipy import stats

from orchestrator.selection.agreement import Agreement
from orchestrator.selection.intervals import ONE_SEED
from orchestrator.selection.verdict import (
    fastest_tie,
    holm,
    paired_difference,
    seeds_to_separate,
    winner_and_ties,
)

ENDLESS = 10**12


def runs(**values_of_each):
    return {key: dict(enumerate(values)) for key, values in values_of_each.items()}


CLOSE = runs(a=(0.80, 0.82, 0.81), b=(0.81, 0.80, 0.80), c=(0.60, 0.61, 0.61))


def test_with_endless_images_the_difference_is_the_paired_t_test():
    a, b = (0.80, 0.82, 0.81, 0.85), (0.79, 0.80, 0.81, 0.80)
    difference = paired_difference(runs(a=a, b=b), "a", "b", num_images=ENDLESS)
    expected = stats.ttest_rel(a, b)
    limits = expected.confidence_interval()
    assert difference.p_value == pytest.approx(expected.pvalue, abs=1e-6)
    assert difference.interval == pytest.approx((limits.low, limits.high), abs=1e-6)


def test_other_candidates_sharpen_the_noise():
    alone = paired_difference({k: CLOSE[k] for k in "ab"}, "a", "b", num_images=ENDLESS)
    among = paired_difference(CLOSE, "a", "b", num_images=ENDLESS)
    assert among.mean == alone.mean
    assert among.interval[1] - among.interval[0] < alone.interval[1] - alone.interval[0]


def test_unknown_agreement_adds_both_sampling_errors_and_full_agreement_cancels_them():
    unknown = paired_difference(CLOSE, "a", "b", num_images=1000)
    one = 0.81 * 0.19 / 1000
    assert unknown.sampling_variance == pytest.approx(2 * one, rel=0.02)
    shared = Agreement(within=1.0, between=1.0)
    same = paired_difference(CLOSE, "a", "b", num_images=1000, agreement=shared)
    assert same.sampling_variance == pytest.approx(0, abs=1e-7)


def test_only_seeds_that_both_were_run_with_are_compared():
    partly = {**CLOSE, "b": {1: 0.80, 2: 0.80, 7: 0.10}}
    difference = paired_difference(partly, "a", "b", num_images=1000)
    assert (difference.num_seeds, difference.mean) == (2, pytest.approx(0.015))
    with pytest.raises(ValueError, match="no seed in common"):
        paired_difference({"a": {0: 0.5}, "b": {1: 0.5}}, "a", "b", num_images=10)


def test_holm_steps_down_and_never_reorders():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()


def test_a_clear_winner_is_said_to_be_the_best():
    verdict = winner_and_ties(runs(a=(0.9, 0.91), b=(0.5, 0.51), c=(0.6, 0.61)), num_images=5000)
    assert (verdict.winner, verdict.ties, verdict.separated) == ("a", (), True)
    assert verdict.sentence.startswith("a is the best: +30.0 points (95 % interval +2")
    assert [d.second for d in verdict.differences] == ["c", "b"]


def test_what_cannot_be_told_apart_is_listed_and_said():
    verdict = winner_and_ties(CLOSE, num_images=1000)
    assert (verdict.winner, verdict.ties, verdict.separated) == ("a", ("b",), False)
    assert verdict.sentence.startswith("Cannot tell a from b: +0.7 points")
    assert "1000 images are too few" in verdict.sentence
    assert verdict.seeds_to_separate is None


def test_enough_images_leave_a_number_of_seeds():
    verdict = winner_and_ties(CLOSE, num_images=ENDLESS)
    assert verdict.ties == ("b",)
    assert verdict.seeds_to_separate is not None
    assert f"about {verdict.seeds_to_separate} seeds each would separate" in verdict.sentence


def test_a_tie_by_correction_alone_is_explained():
    orders = permutations((0.795, 0.800, 0.805))  # equal means, no seed good for all
    crowd = {f"d{i}": values for i, values in enumerate(orders)}
    verdict = winner_and_ties(runs(a=(0.812, 0.812, 0.812), **crowd), num_images=ENDLESS)
    first = verdict.differences[0]
    assert first.p_value < 0.05 <= verdict.adjusted[0]
    assert first.second in verdict.ties
    assert "not enough among several comparisons (Holm)" in verdict.sentence


def test_a_noisier_comparison_is_a_tie_behind_a_separated_one():
    uneven = runs(a=(0.82, 0.81, 0.83, 0.82), b=(0.79, 0.80, 0.80, 0.79), c=(0.791,))
    verdict = winner_and_ties(uneven, num_images=ENDLESS)
    assert verdict.ties == ("c",)
    assert verdict.sentence.startswith("Cannot tell a from c: +2.9 points")


def test_one_seed_separates_nothing():
    verdict = winner_and_ties(runs(a=(0.9,), b=(0.1,)), num_images=ENDLESS)
    assert verdict.ties == ("b",)
    assert "with one seed the noise between seeds is unknown" in verdict.sentence
    assert verdict.differences[0].method == ONE_SEED
    assert verdict.seeds_to_separate is None


def test_exact_equals_are_ordered_by_key_and_tied():
    verdict = winner_and_ties(runs(b=(0.5, 0.5), a=(0.5, 0.5)), num_images=100)
    assert (verdict.winner, verdict.ties) == ("a", ("b",))


def test_a_single_candidate_wins_alone():
    verdict = winner_and_ties(runs(a=(0.5, 0.6)), num_images=100)
    assert (verdict.winner, verdict.sentence) == ("a", "a is the only candidate.")


@pytest.mark.parametrize("comparisons", [1, 12])
def test_so_many_seeds_separate_with_eighty_percent_power(comparisons):
    gap, sd, rng = 0.01, 0.012, np.random.default_rng(0)
    pilot = paired_difference(runs(a=(0.81, 0.82), b=(0.8, 0.81)), "a", "b", num_images=ENDLESS)
    known = type(pilot)(**{**pilot.to_json(), "mean": gap, "seed_variance": 2 * sd**2})
    seeds = seeds_to_separate(known, comparisons=comparisons)
    assert seeds is not None
    draws = rng.normal(scale=sd, size=(2000, 2, seeds)) + np.array([0.8 + gap, 0.8])[:, None]
    p_values = stats.ttest_rel(draws[:, 0], draws[:, 1], axis=1).pvalue
    assert np.mean(p_values < 0.05 / comparisons) == pytest.approx(0.8, abs=0.04)


def test_the_splits_error_asks_for_more_seeds_until_none_are_enough():
    def needed(num_images):
        pair = runs(a=(0.82, 0.84, 0.80), b=(0.80, 0.79, 0.81))
        difference = paired_difference(pair, "a", "b", num_images=num_images)
        return seeds_to_separate(difference) or math.inf

    assert needed(ENDLESS) < needed(10_000) < needed(500) == math.inf


def test_the_fastest_of_the_best_is_named_and_never_a_loser():
    verdict = winner_and_ties(CLOSE, num_images=1000)
    assert fastest_tie(verdict, {"a": 0.3, "b": 0.2, "c": 0.1}) == "b"
    assert fastest_tie(verdict, {"a": 0.3}) == "a"
    assert fastest_tie(verdict, {"c": 0.1}) is None
