"""A family of networks trained to the end: compound sizes, and single axes at the same cost.

EfficientNet's B1 to B7 and the control experiment beside them (Tan & Le 2019, arXiv:1905.11946,
§5.1 and table 7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.history import History, Status
from orchestrator.stages.base import PlannedStage
from orchestrator.stages.race import is_settled
from orchestrator.stages.scale import result as scale_result
from orchestrator.stages.scale.memory import halved, ran_out
from orchestrator.stages.scale.plan import STAGE, Member, ScalePlan
from orchestrator.trial import TrialSpec
from trainer.config import TrainConfig


@dataclass(frozen=True)
class FamilyTraining(PlannedStage[ScalePlan]):
    """The stage: every member with every seed; all functions of the history."""

    name = STAGE

    def propose(self, history: History, *, count: int, seed: int) -> Sequence[TrialSpec]:
        """What has not ended, longest first: a large member begun last would run on alone."""
        wanted = [spec for specs in self.runs(history).values() for spec in specs.values()]
        return [spec for spec in wanted if not is_settled(history, spec)]

    def reduce(self, history: History) -> dict[str, Any]:
        """The result document. Raises StageFailed where no member came to an accuracy."""
        return scale_result.document(self, history)

    def runs(self, history: History) -> dict[str, dict[int, TrialSpec]]:
        """The trials behind each member's mean, by seed; longest first."""
        return {
            member.name: {seed: self._run(member, seed, history) for seed in self.plan.seeds}
            for member in self.plan.longest_first
        }

    def _run(self, member: Member, seed: int, history: History) -> TrialSpec:
        """In micro-batches as planned; in smaller ones after any seed has run out of memory.

        A run that has ended well in other micro-batches counts: how many fit is the machine's
        affair, and another machine is no reason to train anew.
        """
        variants = self._variants(member, seed)
        for spec in variants.values():
            trial = history.get(spec.key)
            if trial is not None and trial.status is Status.COMPLETE:
                return spec
        most = self._most(member, history)
        return next(spec for accumulate, spec in variants.items() if accumulate >= most)

    def _most(self, member: Member, history: History) -> int:
        """Into how many micro-batches a step has to be cut, as far as is known."""
        ran = [
            accumulate
            for seed in self.plan.seeds
            for accumulate, spec in self._variants(member, seed).items()
            if ran_out(history.get(spec.key))
        ]
        smallest = max(self._variants(member, self.plan.seeds[0]))
        return min(max([member.train.accumulate, *(2 * number for number in ran)]), smallest)

    def _variants(self, member: Member, seed: int) -> dict[int, TrialSpec]:
        """By micro-batches in a step: from as many as were asked for to the most that can be."""
        found = {}
        config: TrainConfig | None = member.train.with_(accumulate=member.asked_accumulate)
        while config is not None:
            number = config.accumulate
            found[number] = self.plan.spec(member, seed, accumulate=number)
            config = halved(config)
        return found
