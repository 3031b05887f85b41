"""The whole selection against a learner whose truth is known.

Twenty candidates, 32 epochs, four finalists with five fresh seeds, all scored on one split of 1,000
images; seed noise of 0.5 to 3 points.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import stats

from orchestrator.selection.agreement import UNKNOWN, measure_agreement
from orchestrator.selection.halving import choose_finalists, decide, plan_rungs, standing
from orchestrator.selection.intervals import Estimate, summarise
from orchestrator.selection.verdict import Verdict, winner_and_ties
from tests.simulated import Flags, SimulatedLearner, candidates

HORIZON, NUM_IMAGES, SEEDS, STUDIES = 32, 1000, 5, 1000
PLAN = plan_rungs(HORIZON, 20)
STEPS = (*PLAN.rungs, HORIZON)
SEED_SDS = (0.005, 0.015, 0.03)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    truth: Mapping[str, float]
    screening: Mapping[str, Mapping[int, float]]
    estimates: tuple[Estimate, ...]
    cautious: tuple[Estimate, ...]
    """The estimates had the agreement not been measured."""
    verdict: Verdict

    @property
    def shortfall(self) -> float:
        return max(self.truth.values()) - self.truth[self.verdict.winner]

    @property
    def optimism(self) -> float:
        means = {estimate.key: estimate.mean for estimate in self.estimates}
        return means[self.verdict.winner] - self.truth[self.verdict.winner]

    @property
    def best_finalist_kept(self) -> bool:
        best = max((e.key for e in self.estimates), key=lambda key: self.truth[key])
        return best in (self.verdict.winner, *self.verdict.ties)

    def covered(self, estimates: tuple[Estimate, ...]) -> list[bool]:
        return [e.interval[0] <= self.truth[e.key] <= e.interval[1] for e in estimates]


def name(index: int) -> str:
    return f"c{index:02d}"


def screen(scores):
    decisions = []
    for rung in range(len(PLAN.rungs)):
        decision = decide(
            PLAN, scores, rung, chance=0.1, num_images=NUM_IMAGES, earlier=tuple(decisions)
        )
        decisions.append(decision)
    return choose_finalists(PLAN, {key: scores[key] for key in standing(scores, decisions)})


def study(rng: np.random.Generator, learner: SimulatedLearner) -> Study:
    split = learner.split(rng, num_images=NUM_IMAGES)
    times = [epoch / HORIZON for epoch in STEPS]
    right = learner.correct(rng, learner.population(rng, seeds=1, times=times), split)
    table = right.mean(axis=-1)[:, 0].tolist()
    scores = {name(i): dict(zip(STEPS, row, strict=True)) for i, row in enumerate(table)}
    chosen = [int(key[1:]) for key in screen(scores)]
    finalists = learner.only(chosen)
    runs = finalists.population(rng, seeds=SEEDS, times=[1.0])
    answers = finalists.correct(rng, runs, split[chosen])[:, :, 0]  # the same images, fresh seeds
    estimates, cautious, verdict = judge({name(c): a for c, a in zip(chosen, answers, strict=True)})
    truth = {name(i): value for i, value in enumerate(learner.truth.tolist())}
    return Study(
        truth=truth, screening=scores, estimates=estimates, cautious=cautious, verdict=verdict
    )


def judge(correct: Mapping[str, Flags]):
    runs = {key: dict(enumerate(a.mean(axis=-1).tolist())) for key, a in correct.items()}
    agreement = measure_agreement(correct)
    return (
        summarise(runs, num_images=NUM_IMAGES, agreement=agreement),
        summarise(runs, num_images=NUM_IMAGES),
        winner_and_ties(runs, num_images=NUM_IMAGES, agreement=agreement),
    )


@pytest.fixture(scope="module", params=SEED_SDS, ids=lambda sd: f"seed-sd-{sd}")
def studies(request):
    rng = np.random.default_rng(0)
    sd = request.param
    return sd, [study(rng, candidates(rng, seed_sd=sd)) for _ in range(STUDIES)]


def test_intervals_cover_the_truth_as_often_as_they_say(studies):
    _, done = studies
    assert 0.93 <= np.mean([s.covered(s.estimates) for s in done]) <= 0.97


def test_without_the_answers_they_cover_at_least_as_often(studies):
    _, done = studies
    assert np.mean([s.covered(s.cautious) for s in done]) >= 0.95


def test_the_winner_is_within_the_noise_of_one_run_of_the_best(studies):
    sd, done = studies
    noise = np.sqrt(sd**2 + 0.8 * 0.2 / NUM_IMAGES)  # 1.4, 2.0 and 3.3 points
    assert np.mean([s.shortfall <= noise for s in done]) >= 0.9


def test_the_winners_own_mean_is_too_high_by_a_fraction_of_its_standard_error(studies):
    sd, done = studies
    error = np.sqrt(sd**2 / SEEDS + 0.8 * 0.2 / NUM_IMAGES)
    assert 0.1 * error <= np.mean([s.optimism for s in done]) <= 0.6 * error


def test_the_best_finalist_is_the_winner_or_a_tie(studies):
    _, done = studies
    assert np.mean([s.best_finalist_kept for s in done]) >= 0.95


def test_the_simulated_curves_cross_as_real_ones_do(studies):
    _, done = studies
    early, late = ([[c[e] for c in s.screening.values()] for s in done] for e in (8, 32))
    rho = np.mean([stats.spearmanr(a, b).statistic for a, b in zip(early, late, strict=True)])
    assert rho == pytest.approx(0.64, abs=0.09)


def test_the_search_costs_at_most_35_percent_of_the_full_grid():
    spent = PLAN.epochs + PLAN.num_finalists * SEEDS * HORIZON
    assert spent <= 0.35 * 20 * SEEDS * HORIZON


@pytest.mark.parametrize("count", [2, 4])
def test_of_equals_it_is_said_that_none_can_be_told(count):
    rng = np.random.default_rng(1)
    learner = candidates(rng, seed_sd=0.015, count=count, spread=0)
    tied = 0
    for _ in range(500):
        runs = learner.population(rng, seeds=SEEDS, times=[1.0])
        split = learner.split(rng, num_images=NUM_IMAGES)
        answers = learner.correct(rng, runs, split)[:, :, 0]
        verdict = judge({name(i): a for i, a in enumerate(answers)})[2]
        tied += verdict.sentence.startswith("Cannot tell")
    assert tied >= 0.94 * 500  # 95 % less two standard errors of 500 studies


def test_the_default_is_exact_where_seeds_share_all_their_mistakes():
    rng = np.random.default_rng(2)
    learner = replace(candidates(rng, seed_sd=0.015, count=4), common=0.7, own=0.3)
    covered = []
    for _ in range(STUDIES):
        runs = learner.population(rng, seeds=SEEDS, times=[1.0])
        answers = learner.correct(rng, runs, learner.split(rng, num_images=NUM_IMAGES))[:, :, 0]
        by_key = {name(i): dict(enumerate(a.mean(axis=-1).tolist())) for i, a in enumerate(answers)}
        estimates = summarise(by_key, num_images=NUM_IMAGES, agreement=UNKNOWN)
        pairs = zip(estimates, learner.truth, strict=True)
        covered += [e.interval[0] <= truth <= e.interval[1] for e, truth in pairs]
    assert 0.93 <= np.mean(covered) <= 0.97
