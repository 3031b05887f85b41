"""An ablation: every rung with every seed, then how fast each network answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from orchestrator.history import History
from orchestrator.stages.ablate import result as ablate_result
from orchestrator.stages.ablate.plan import STAGE, AblatePlan
from orchestrator.stages.base import PlannedStage
from orchestrator.stages.micro_batches import begun_and_next, micro_batch, room_left, that_counts
from orchestrator.stages.race import is_settled
from orchestrator.trial import TrialSpec


@dataclass(frozen=True)
class Ablation(PlannedStage[AblatePlan]):
    """The stage; all functions of the history."""

    name = STAGE

    def propose(self, history: History, *, count: int, seed: int) -> Sequence[TrialSpec]:
        """What has not ended, longest first; then how fast the networks answer.

        That has the machine to itself: beside a training run it would measure that.
        """
        runs = self.runs(history)
        training = [spec for rung in self.plan.distinct for spec in runs[rung.name].values()]
        if left := begun_and_next(training, history, count=count):
            return left
        spec = self.plan.speed_spec
        return [] if spec is None or is_settled(history, spec) else [spec]

    def reduce(self, history: History) -> dict[str, Any]:
        """The result document. Raises StageFailed where no rung came to an accuracy."""
        return ablate_result.document(self.plan, self.runs(history), history)

    def runs(self, history: History) -> dict[str, dict[int, TrialSpec]]:
        """The trials behind each rung's mean, by seed.

        In micro-batches as planned; all that have not begun in smaller ones once any rung has run
        out of memory: batch norm should see as many images on every rung.
        """
        plan = self.plan
        variants = {
            (rung.name, seed): plan.variants(rung, seed)
            for rung in plan.distinct
            for seed in plan.seeds
        }
        room = room_left(chain.from_iterable(variants.values()), history)
        found = {
            rung.name: {
                seed: that_counts(
                    variants[rung.name, seed],
                    planned=micro_batch(rung.train),
                    room=room,
                    history=history,
                )
                for seed in plan.seeds
            }
            for rung in plan.distinct
        }
        return {rung.name: found[plan.first_of(rung).name] for rung in plan.rungs}
