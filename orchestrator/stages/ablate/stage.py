"""An ablation: every rung with every seed, then how fast each network answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.history import History
from orchestrator.stages.ablate import result as ablate_result
from orchestrator.stages.ablate.plan import STAGE, AblatePlan
from orchestrator.stages.base import PlannedStage
from orchestrator.stages.race import is_settled
from orchestrator.trial import TrialSpec


@dataclass(frozen=True)
class Ablation(PlannedStage[AblatePlan]):
    """The stage; all functions of the history."""

    name = STAGE

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

    def reduce(self, history: History) -> dict[str, Any]:
        """The result document. Raises StageFailed where no rung came to an accuracy."""
        return ablate_result.document(self.plan, history)
