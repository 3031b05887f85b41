"""Policies that are scored by inference: density matching (Lim 2019, arXiv:1905.00397)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from orchestrator.errors import StageFailed
from orchestrator.history import Decision, History
from orchestrator.objectives.policy_trials import FoldConfig, ScoreConfig
from orchestrator.searchers import fast_autoaugment
from orchestrator.searchers.fast_autoaugment import FastAutoAugmentSettings
from orchestrator.searchers.walk import Batch, Walk, reward_of
from orchestrator.stages.augment.children import observations
from orchestrator.stages.augment.plan import AugmentPlan
from orchestrator.trial import Scalar, TrialSpec, trial_key
from search_spaces.augmentation import (
    ContinuousSpace,
    Point,
)
from trainer.augment.policy import Augmentation


@dataclass(frozen=True)
class DensitySearch:
    """Policies scored by inference: the models are trained first, one a fold."""

    judges: tuple[TrialSpec, ...]
    walks: tuple[Walk[Point], ...]
    """One for each judge."""
    space: ContinuousSpace
    settings: FastAutoAugmentSettings

    def specs(self, history: History) -> list[TrialSpec]:
        """The judges, and what those that are trained are given to judge."""
        wanted = list(self.judges)
        for judge, walk in zip(self.judges, self.walks, strict=True):
            if _is_trained(history, judge):
                wanted += walk.follow(history).specs
        return wanted

    def is_over(self, history: History) -> bool:
        """Once every judge has judged, or failed."""
        return all(self._is_done(history, n) for n in range(len(self.judges)))

    def decide(self, history: History) -> Decision | None:
        """Nobody is dropped."""
        return None

    def chosen(self, history: History) -> Augmentation:
        """The best policies of every fold that has one. Raises: StageFailed."""
        folds = [observations(walk.follow(history).done) for walk in self.walks]
        scored = [fold for fold in folds if any(seen.reward is not None for seen in fold)]
        if not scored:
            raise StageFailed("fast-autoaugment: no policy of any fold has a score")
        return fast_autoaugment.chosen(scored, space=self.space, settings=self.settings)

    def _is_done(self, history: History, number: int) -> bool:
        trial = history.get(self.judges[number].key)
        if trial is None or not trial.status.ended:
            return False
        failed = not _is_trained(history, self.judges[number])
        return failed or not self.walks[number].follow(history).waiting


def density_search(plan: AugmentPlan, *, label: str, random: bool) -> DensitySearch:
    """The folds with their judges; TPE proposes what is scored, or chance."""
    space = ContinuousSpace(num_sub_policies=plan.settings.sub_policies)
    settings = FastAutoAugmentSettings()
    judges = [_judge(plan, fold) for fold in range(plan.settings.folds)]
    walks = []
    for fold, (judge, key) in enumerate(judges):
        advance = partial(_random_points if random else _next_points, plan, space, settings, fold)
        walks.append(Walk(advance, partial(_scored, plan, space, judge, key, label)))
    trained = tuple(
        plan.spec("train-fold", judge, key, _named(f"judge of fold {judge.fold + 1}", judge))
        for judge, key in judges
    )
    return DensitySearch(judges=trained, walks=tuple(walks), space=space, settings=settings)


def _judge(plan: AugmentPlan, fold: int) -> tuple[FoldConfig, str]:
    config = FoldConfig(
        train=plan.with_policy(None, plan.child), fold=fold, held_out=plan.settings.held_out
    )
    return config, trial_key("train-fold", config, fingerprint=plan.evidence.search)


def _next_points(
    plan: AugmentPlan,
    space: ContinuousSpace,
    settings: FastAutoAugmentSettings,
    fold: int,
    done: tuple[Batch[Point], ...],
) -> Sequence[Point]:
    observed = observations(done)
    return fast_autoaugment.propose(
        observed,
        count=min(settings.batch, plan.trials_per_fold - len(observed)),
        seed=plan.child.seed,
        fold=fold,
        space=space,
        settings=settings,
    )


def _random_points(
    plan: AugmentPlan,
    space: ContinuousSpace,
    settings: FastAutoAugmentSettings,
    fold: int,
    done: tuple[Batch[Point], ...],
) -> Sequence[Point]:
    if done:
        return ()
    chances = (
        Random(f"random policy {number} of fold {fold} of {plan.child.seed}")
        for number in range(plan.trials_per_fold)
    )
    return [space.sample(chance) for chance in chances]


def _scored(
    plan: AugmentPlan,
    space: ContinuousSpace,
    judge: FoldConfig,
    judge_key: str,
    label: str,
    point: Point,
) -> TrialSpec:
    config = ScoreConfig(
        judge=judge,
        judge_key=judge_key,
        policy=space.policy(point, name=label),
        draws=plan.settings.draws,
    )
    key = trial_key("score-policy", config, fingerprint=plan.evidence.search)
    labels = _named(f"{label}, fold {judge.fold + 1}", judge)
    return plan.spec("score-policy", config, key, labels)


def _named(name: str, judge: FoldConfig) -> dict[str, Scalar]:
    return {"name": name, "fold": judge.fold, "seed": judge.train.seed}


def _is_trained(history: History, spec: TrialSpec) -> bool:
    return reward_of(history.get(spec.key)) is not None
