"""The grid search for α, β, γ that EfficientNet's authors describe (arXiv:1905.11946, §3.3).

Every network that keeps to the budget is raced in rungs; the best are re-run with fresh seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from orchestrator.history import Decision, History
from orchestrator.searchers.tpe import Point
from orchestrator.searchers.walk import Walk
from orchestrator.stages.base import PlannedStage
from orchestrator.stages.race import Race, is_settled
from orchestrator.stages.scaling import result as scaling_result
from orchestrator.stages.scaling.plan import STAGE, ScalingPlan
from orchestrator.stages.scaling.recipe_tuning import recipe_walk, tuned
from orchestrator.trial import TrialSpec
from search_spaces.screening import Candidate
from trainer.config import TrainConfig


@dataclass(frozen=True)
class ScalingSearch(PlannedStage[ScalingPlan]):
    """The stage: proposals, rungs and the result, all functions of the history."""

    name = STAGE

    def propose(self, history: History, *, count: int, seed: int) -> Sequence[TrialSpec]:
        """Recipe trials first; then the race and the controls; then the finalists' fresh seeds."""
        recipe = self.recipe(history)
        if recipe is None:
            path = self._recipes.follow(history)
            return [spec for spec in path.waiting if not is_settled(history, spec)]
        wanted = list(self.races(recipe).values())
        for name in self.finalists(history, recipe):
            wanted += self.runs(recipe, self.plan.by_name[name]).values()
        for control in self.plan.controls:
            wanted += self.runs(recipe, control.candidate).values()
        return [spec for spec in wanted if not is_settled(history, spec)]

    def recipe(self, history: History) -> TrainConfig | None:
        """How the networks are trained; None while that is still being found out."""
        if not self.plan.recipe_trials:
            return self.plan.recipe
        return tuned(self._recipes, history, default=self.plan.recipe)

    def decide(self, history: History) -> Decision | None:
        """The first rung that is complete and whose decision the journal lacks."""
        recipe = self.recipe(history)
        race = None if recipe is None else self.race(recipe)
        return race.decide(history) if race else None

    def finalists(self, history: History, recipe: TrainConfig) -> tuple[str, ...]:
        """The names of those whose mean decides, best first; () while the race is on."""
        race = self.race(recipe)
        return race.finalists(history) if race else tuple(self.plan.by_name)

    def race(self, recipe: TrainConfig) -> Race | None:
        """How the finalists are found; None where every candidate is one."""
        if self.plan.halving is None:
            return None
        return Race(
            stage=STAGE,
            plan=self.plan.halving,
            specs=self.races(recipe),
            chance=self.plan.evidence.chance,
            num_images=self.plan.evidence.num_images,
        )

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
    def _recipes(self) -> Walk[Point]:
        return recipe_walk(self.plan)

    @cached_property
    def _specs(self) -> dict[tuple[Any, ...], TrialSpec]:
        return {}  # a key is a hash over a whole configuration: worth keeping
