"""A family of networks trained to the end: compound sizes, and single axes at the same cost.

EfficientNet's B1 to B7 and the control experiment beside them (Tan & Le 2019, arXiv:1905.11946,
§5.1 and table 7).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from orchestrator.history import History
from orchestrator.stages.base import PlannedStage
from orchestrator.stages.micro_batches import (
    begun_and_next,
    in_smaller,
    micro_batch,
    room_left,
    that_counts,
)
from orchestrator.stages.scale import result as scale_result
from orchestrator.stages.scale.plan import STAGE, Member, ScalePlan
from orchestrator.trial import TrialSpec


@dataclass(frozen=True)
class FamilyTraining(PlannedStage[ScalePlan]):
    """The stage: every member with every seed; all functions of the history."""

    name = STAGE

    def propose(self, history: History, *, count: int, seed: int) -> Sequence[TrialSpec]:
        """What has not ended, longest first: a large member begun last would run on alone."""
        wanted = [spec for specs in self.runs(history).values() for spec in specs.values()]
        return begun_and_next(wanted, history, count=count)

    def reduce(self, history: History) -> dict[str, Any]:
        """The result document. Raises StageFailed where no member came to an accuracy."""
        return scale_result.document(self, history)

    def runs(self, history: History) -> dict[str, dict[int, TrialSpec]]:
        """The trials behind each member's mean, by seed; longest first.

        In micro-batches as planned; in smaller ones after any seed has run out of memory.
        """
        return {member.name: self._runs(member, history) for member in self.plan.longest_first}

    def _runs(self, member: Member, history: History) -> dict[int, TrialSpec]:
        variants = {seed: list(self._variants(member, seed)) for seed in self.plan.seeds}
        room = room_left(chain.from_iterable(variants.values()), history)
        planned = micro_batch(member.train)
        return {
            seed: that_counts(specs, planned=planned, room=room, history=history)
            for seed, specs in variants.items()
        }

    def _variants(self, member: Member, seed: int) -> Iterator[TrialSpec]:
        """From micro-batches as large as asked for to the smallest that can be."""
        asked = member.train.with_(accumulate=member.asked_accumulate)
        for config in in_smaller(asked):
            yield self.plan.spec(member, seed, accumulate=config.accumulate)
