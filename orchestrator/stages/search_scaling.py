"""The grid search for α, β, γ that EfficientNet's authors describe (arXiv:1905.11946, §3.3).

Every network that keeps to the budget is raced in rungs; the best are re-run with fresh seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from orchestrator.history import Decision, History, Status
from orchestrator.selection.halving import RungDecision, choose_finalists, decide, waiting_for
from orchestrator.selection.rank_order import order_movement
from orchestrator.stages import scaling_result
from orchestrator.stages.recipe_tuning import propose_recipes, tuned
from orchestrator.stages.scaling_plan import STAGE, ScalingPlan
from orchestrator.trial import TrialSpec
from search_spaces.screening import Candidate
from trainer.config import TrainConfig


@dataclass(frozen=True)
class ScalingSearch:
    """The stage: proposals, rungs and the result, all functions of the history."""

    plan: ScalingPlan

    @property
    def name(self) -> str:
        """As on the command line."""
        return STAGE

    @property
    def question(self) -> dict[str, Any]:
        """The options as asked."""
        return self.plan.question

    @property
    def cost(self) -> dict[str, Any]:
        """The plan, before anything was timed."""
        return self.plan.cost(None).to_json()

    def propose(self, history: History, *, count: int, seed: int) -> Sequence[TrialSpec]:
        """Recipe trials first; then the race and the controls; then the finalists' fresh seeds."""
        recipe = self.recipe(history)
        if recipe is None:
            return propose_recipes(self.plan, history)
        wanted = list(self.races(recipe).values())
        for name in self.finalists(history, recipe):
            wanted += self.runs(recipe, self.plan.by_name[name]).values()
        for control in self.plan.controls:
            wanted += self.runs(recipe, control.candidate).values()
        return [spec for spec in wanted if not _settled(history, spec)]

    def recipe(self, history: History) -> TrainConfig | None:
        """How the networks are trained; None while that is still being found out."""
        return tuned(self.plan, history) if self.plan.recipe_trials else self.plan.recipe

    def decide(self, history: History) -> Decision | None:
        """The first rung that is complete and whose decision the journal lacks."""
        recipe = self.recipe(history)
        if recipe is None or self.plan.halving is None:
            return None
        for made in self._rungs(history, recipe):
            decision = self._as_decision(made, recipe)
            if not _is_journaled(decision, history):
                return decision
        return None

    def finalists(self, history: History, recipe: TrainConfig) -> tuple[str, ...]:
        """The names of those whose mean decides, best first; () while the race is on."""
        if self.plan.halving is None:
            return tuple(self.plan.by_name)
        races = self.races(recipe)
        if not all(_ended(history, spec) for spec in races.values()):
            return ()
        scores = self.scores(history, recipe)
        return choose_finalists(self.plan.halving, scores, failed=self._failed(history, recipe))

    def scores(self, history: History, recipe: TrainConfig) -> dict[str, dict[int, float]]:
        """Candidate -> epoch -> top-1 of its race; NaN where there is a report without a number."""
        return {name: _curve(history, spec) for name, spec in self.races(recipe).items()}

    def rungs(self, history: History, recipe: TrainConfig) -> dict[str, Any] | None:
        """The order at each rung, and whether it was still moving."""
        if self.plan.halving is None:
            return None
        scores = self.scores(history, recipe)
        return {
            "decisions": [made.to_json() for made in self._rungs(history, recipe)],
            "movement": [m.to_json() for m in order_movement(self.plan.halving, scores)],
        }

    def reduce(self, history: History) -> dict[str, Any]:
        """The result document. Raises StageFailed where no candidate came to an accuracy."""
        return scaling_result.document(self, history)

    def races(self, recipe: TrainConfig) -> dict[str, TrialSpec]:
        """The trial by which each candidate is compared at the rungs, by name."""
        if self.plan.halving is None:
            return {}
        return {
            name: self._spec(recipe, candidate, recipe.seed, self.plan.milestones)
            for name, candidate in self.plan.by_name.items()
        }

    def runs(self, recipe: TrainConfig, candidate: Candidate) -> dict[int, TrialSpec]:
        """The trials behind a candidate's mean, by seed."""
        return {seed: self._spec(recipe, candidate, seed) for seed in self.plan.seeds}

    def _spec(
        self,
        recipe: TrainConfig,
        candidate: Candidate,
        seed: int,
        milestones: tuple[int, ...] = (),
    ) -> TrialSpec:
        place = (recipe, candidate.coefficients, seed, milestones)
        if place not in self._specs:
            spec = self.plan.spec(recipe, candidate, seed, milestones=milestones)
            self._specs[place] = spec
        return self._specs[place]

    @cached_property
    def _specs(self) -> dict[tuple[Any, ...], TrialSpec]:
        return {}  # a key is a hash over a whole configuration: worth keeping

    def _failed(self, history: History, recipe: TrainConfig) -> set[str]:
        races = self.races(recipe)
        return {n for n, s in races.items() if _has_status(history, s, Status.FAILED)}

    def _rungs(self, history: History, recipe: TrainConfig) -> list[RungDecision]:
        """The decisions of all rungs that are complete."""
        plan, made = self.plan.halving, list[RungDecision]()
        assert plan is not None
        scores, failed = self.scores(history, recipe), self._failed(history, recipe)
        for rung in range(len(plan.rungs)):
            if waiting_for(plan, scores, rung, earlier=made, failed=failed):
                break
            decision = decide(
                plan,
                scores,
                rung,
                chance=self.plan.evidence.chance,
                num_images=self.plan.evidence.num_images,
                earlier=made,
                failed=failed,
            )
            made.append(decision)
        return made

    def _as_decision(self, made: RungDecision, recipe: TrainConfig) -> Decision:
        races = self.races(recipe)
        return Decision(
            stage=STAGE,
            epoch=made.epoch,
            promoted=tuple(races[name].key for name in made.promoted),
            stopped=tuple(races[name].key for name in made.stopped),
            report=made.to_json(),
        )


def _settled(history: History, spec: TrialSpec) -> bool:
    """Whether nothing more is to be had from the trial under this specification."""
    trial = history.get(spec.key)
    if trial is None:
        return False
    dropped_but_wanted_whole = trial.status is Status.PRUNED and not spec.milestones
    return trial.status.ended and not dropped_but_wanted_whole


def _ended(history: History, spec: TrialSpec) -> bool:
    trial = history.get(spec.key)
    return trial is not None and trial.status.ended


def _has_status(history: History, spec: TrialSpec, status: Status) -> bool:
    trial = history.get(spec.key)
    return trial is not None and trial.status is status


def _curve(history: History, spec: TrialSpec) -> dict[int, float]:
    trial = history.get(spec.key)
    reports = trial.reports if trial else []
    return {r["epoch"]: math.nan if r["top1"] is None else r["top1"] for r in reports}


def _is_journaled(decision: Decision, history: History) -> bool:
    return any(
        taken.epoch == decision.epoch
        and set(taken.promoted) == set(decision.promoted)
        and set(taken.stopped) == set(decision.stopped)
        for taken in history.decisions(decision.stage)
    )
