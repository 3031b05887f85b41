"""A family of networks trained to the end: compound sizes, and single axes at the same cost.

EfficientNet's B1 to B7 and the control experiment beside them (Tan & Le 2019, arXiv:1905.11946,
§5.1 and table 7).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from orchestrator.history import Decision, History
from orchestrator.stages import scale_result
from orchestrator.stages.race import is_settled
from orchestrator.stages.scale_plan import STAGE, ScalePlan
from orchestrator.trial import TrialSpec


@dataclass(frozen=True)
class FamilyTraining:
    """The stage: every member with every seed; all functions of the history."""

    plan: ScalePlan

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
        """What has not ended, longest first: a large member begun last would run on alone."""
        wanted = [spec for specs in self.runs.values() for spec in specs.values()]
        return [spec for spec in wanted if not is_settled(history, spec)]

    def decide(self, history: History) -> Decision | None:
        """Nobody is dropped."""
        return None

    def reduce(self, history: History) -> dict[str, Any]:
        """The result document. Raises StageFailed where no member came to an accuracy."""
        return scale_result.document(self, history)

    @cached_property
    def runs(self) -> dict[str, dict[int, TrialSpec]]:
        """The trials behind each member's mean, by seed; longest first."""
        return {
            member.name: {seed: self.plan.spec(member, seed) for seed in self.plan.seeds}
            for member in self.plan.longest_first
        }
