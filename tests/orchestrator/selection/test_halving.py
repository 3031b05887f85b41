import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.selection.halving import (
    HalvingPlan,
    RungDecision,
    choose_finalists,
    decide,
    default_finalists,
    plan_rungs,
    waiting_for,
)
from trainer.errors import ConfigError

PLAN = HalvingPlan(horizon=8, num_trials=6, num_finalists=2, rungs=(2, 4), keep=(4, 3))


def at(epoch, **scores):
    return {key: {epoch: score} for key, score in scores.items()}


def rung(scores, index=0, *, plan=PLAN, chance=0.1, num_images=1000, **rest) -> RungDecision:
    return decide(plan, scores, index, chance=chance, num_images=num_images, **rest)


SIX = at(2, a=0.5, b=0.6, c=0.7, d=0.4, e=0.3, f=0.65)


@given(st.integers(1, 400), st.integers(1, 300))
def test_every_plan_starts_late_drops_half_at_most_and_feeds_the_finalists(horizon, num_trials):
    plan = plan_rungs(horizon, num_trials)
    counts = (num_trials, *plan.keep)
    assert all(horizon / 4 <= epoch < horizon for epoch in plan.rungs)
    assert all(
        before > after >= before / 2 for before, after in zip(counts, plan.keep, strict=False)
    )
    assert counts[-1] >= plan.num_finalists


def test_the_usual_plan_for_twenty_trials():
    plan = plan_rungs(32, 20)
    assert (plan.rungs, plan.keep, plan.num_finalists) == ((8, 16), (14, 10), 4)
    assert plan.epochs == 20 * 8 + 14 * 8 + 10 * 16


@pytest.mark.parametrize("num_trials", range(15, 200))
def test_search_and_finalists_cost_at_most_35_percent_of_the_full_grid(num_trials):
    plan, seeds = plan_rungs(32, num_trials), 5
    spent = plan.epochs + plan.num_finalists * seeds * plan.horizon
    assert spent <= 0.35 * num_trials * seeds * plan.horizon


def test_as_many_finalists_as_trials_leave_nothing_to_cut():
    assert plan_rungs(32, 3).rungs == ()
    assert plan_rungs(32, 9, num_finalists=9).rungs == ()
    assert default_finalists(2) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rungs": (1, 4)}, "at least a quarter"),
        ({"rungs": (4, 4)}, "must increase"),
        ({"rungs": (4, 8)}, "below the horizon 8"),
        ({"keep": (2, 2)}, "more than half"),
        ({"keep": (4, 1)}, "fewer than the 2 finalists"),
        ({"keep": (4,)}, "one number for each of 2 rungs"),
        ({"num_finalists": 7}, "the 6 trials"),
        ({"horizon": 0}, "halving.horizon"),
    ],
)
def test_a_plan_that_cannot_be_meant_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        PLAN.with_(**changes)


@pytest.mark.parametrize("options", [{"fractions": (0.1,)}, {"fractions": (1.0,)}, {"keep": 0.4}])
def test_options_that_break_the_rules_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        plan_rungs(32, 20, **options)


def test_the_best_pass():
    decision = rung(SIX)
    assert decision.order == ("c", "f", "b", "a", "d", "e")
    assert decision.promoted == ("c", "f", "b", "a")
    assert decision.stopped == ("d", "e")
    assert not decision.postponed
    assert decision.reason == "kept 4 of 6 by the score at epoch 2"


def test_equal_scores_are_ordered_by_key_whatever_the_order_of_arrival():
    scores = at(2, **dict.fromkeys("fbdace", 0.5))
    assert rung(scores).order == tuple("abcdef")
    assert rung(scores) == rung(dict(reversed(scores.items())))


def test_failed_and_diverged_trials_rank_last_and_are_dropped():
    scores = {**SIX, "c": {2: float("nan")}, "f": {}}
    decision = rung(scores, failed={"f"})
    assert decision.order == ("b", "a", "d", "e", "c", "f")
    assert decision.stopped == ("c", "f")
    assert decision.reason.endswith("2 failed")


def test_a_rung_waits_for_every_trial_that_can_still_come():
    scores = {**SIX, "c": {1: 0.3}}
    assert waiting_for(PLAN, scores, 0) == ("c",)
    assert waiting_for(PLAN, scores, 0, failed={"c"}) == ()
    with pytest.raises(ValueError, match="c has no score at epoch 2"):
        rung(scores)


def test_a_later_rung_sees_only_those_who_passed():
    first = rung(SIX)
    scores = {key: {**SIX[key], 4: 0.5 + 0.01 * i} for i, key in enumerate(first.promoted)}
    second = rung({**SIX, **scores}, 1, earlier=[first])
    assert second.order == ("a", "b", "f", "c")
    assert second.stopped == ("c",)


@pytest.mark.parametrize(("middle", "postponed"), [(0.128, True), (0.129, False)])
def test_the_median_must_lie_three_standard_errors_above_chance(middle, postponed):
    scores = at(2, a=0.9, b=0.8, c=middle, d=middle, e=0.1, f=0.1)  # 0.1 + 3·√(0.09/1000) = 0.1285
    decision = rung(scores)
    assert decision.postponed is postponed
    assert decision.stopped == (() if postponed else ("e", "f"))


def test_a_postponed_rung_still_drops_the_failed_and_the_next_does_not_make_up_for_it():
    early = at(2, a=0.1, b=0.1, c=0.1, d=0.1, e=0.1, f=0.1)
    first = rung(early, failed={"f"})
    assert first.postponed
    assert first.promoted == tuple("abcde")
    assert "chance" in first.reason
    late = {key: {4: 0.5 + 0.01 * i} for i, key in enumerate("abcde")}
    assert rung({**late, "f": {}}, 1, earlier=[first]).promoted == ("e", "d", "c")
    wide = PLAN.with_(num_trials=12, keep=(6, 3))
    twelve = at(4, **dict.fromkeys("abcdefghijkl", 0.5))
    assert len(rung(twelve, 1, plan=wide).promoted) == 6


def test_nobody_left_is_said():
    decision = rung(at(2, a=0.5), failed={"a"})
    assert decision.promoted == ()
    assert "no trial is left" in decision.reason


def test_finalists_are_the_best_at_the_horizon_among_those_who_got_there():
    scores = {"a": {8: 0.5}, "b": {8: 0.7}, "c": {4: 0.9}, "d": {8: 0.6}, "e": {8: float("nan")}}
    assert choose_finalists(PLAN, scores) == ("b", "d")
    assert choose_finalists(PLAN, scores, failed={"b"}) == ("d", "a")
