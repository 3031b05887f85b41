"""An ablation: every rung with every seed, then how fast each network answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.history import Decision, History
from orchestrator.stages import ablate_result
from orchestrator.stages.ablate_plan import STAGE, AblatePlan
from orchestrator.stages.race import is_settled
from orchestrator.trial import TrialSpec


@dataclass(frozen=True)
class Ablation:
    """The stage; all functions of the history."""

    plan: AblatePlan

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
        """What has not ended, longest first; then the measurements, one at a time.

        A measurement has the machine to itself: beside a training run it would measure that.
        """
        training = [
            self.plan.spec(rung, number)
            for rung in self.plan.distinct
            for number in self.plan.seeds
        ]
        left = [spec for spec in training if not is_settled(history, spec)]
        if left:
            return left
        return [spec for spec in self.plan.speeds if not is_settled(history, spec)][:1]

    def decide(self, history: History) -> Decision | None:
        """Nobody is dropped."""
        return None

    def reduce(self, history: History) -> dict[str, Any]:
        """The result document. Raises StageFailed where no rung came to an accuracy."""
        return ablate_result.document(self.plan, history)
