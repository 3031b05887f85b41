"""Trained networks at other test resolutions, and adapted to them.

Touvron 2019, arXiv:1906.06423. Everything is tried and chosen on the selection split, on which no
network was trained; what was chosen is looked at once on the reporting split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.history import History
from orchestrator.stages.base import PlannedStage
from orchestrator.stages.fixres import result as fixres_result
from orchestrator.stages.fixres.choice import (
    adaptations,
    choose,
    is_swept,
    sources_ready,
    swept,
)
from orchestrator.stages.fixres.plan import STAGE, FixResPlan, Network
from orchestrator.stages.race import is_settled
from orchestrator.trial import TrialSpec


@dataclass(frozen=True)
class ResolutionAdaptation(PlannedStage[FixResPlan]):
    """The stage: train what is to be trained, sweep, adapt, choose, report; all by the history."""

    name = STAGE

    def propose(self, history: History, *, count: int, seed: int) -> Sequence[TrialSpec]:
        """What can be done now and has not ended, what takes longest first."""
        wanted = [
            spec
            for network in self.plan.networks
            for spec in self._wanted(network, history)
            if not is_settled(history, spec)
        ]
        return sorted(wanted, key=lambda spec: -int(spec.labels["work"] or 0))

    def reduce(self, history: History) -> dict[str, Any]:
        """The result document. Raises StageFailed where no network came to an accuracy."""
        return fixres_result.document(self.plan, history)

    def _wanted(self, network: Network, history: History) -> Iterator[TrialSpec]:
        plan = self.plan
        for run in network.runs:
            if run.weights is None:
                yield plan.training(network, run)
        for run in sources_ready(plan, network, history):
            yield plan.sweep(network, run)
        if not is_swept(plan, network, history):
            return
        runs = swept(plan, network, history)
        tried = [
            plan.adapting(network, run, adaptation, side)
            for adaptation, side in adaptations(plan, network, history)
            for run in runs
        ]
        yield from tried
        if all(is_settled(history, spec) for spec in tried):
            yield from self._reported(network, history)

    def _reported(self, network: Network, history: History) -> Iterator[TrialSpec]:
        """The network as it was, and as it was chosen to be, on the reporting split."""
        choice = choose(self.plan, network, history)
        for run in swept(self.plan, network, history):
            yield self.plan.reporting(network, run, "none", network.train_resolution)
            if choice is not None:
                yield self.plan.reporting(network, run, choice.adaptation, choice.resolution)
