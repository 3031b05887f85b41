"""Trials that are compared at rungs: who has arrived, who is dropped, who comes to the end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.history import Decision, History, Status
from orchestrator.selection.halving import (
    HalvingPlan,
    RungDecision,
    choose_finalists,
    decide,
    waiting_for,
)
from orchestrator.selection.rank_order import order_movement
from orchestrator.trial import TrialSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """One trial for each candidate, by name; its milestones are the plan's rungs."""

    stage: str
    plan: HalvingPlan
    specs: Mapping[str, TrialSpec]
    chance: float
    num_images: int
    """That the accuracies are measured on."""

    def scores(self, history: History) -> dict[str, dict[int, float]]:
        """Candidate -> epoch -> top-1; NaN where there is a report without a number."""
        return {name: _curve(history, spec) for name, spec in self.specs.items()}

    def decide(self, history: History) -> Decision | None:
        """The first rung that is complete and whose decision the journal lacks."""
        for made in self.rungs(history):
            decision = self._as_decision(made)
            if not _is_journaled(decision, history):
                return decision
        return None

    def rungs(self, history: History) -> list[RungDecision]:
        """The decisions of all rungs that are complete."""
        made = list[RungDecision]()
        scores, failed = self.scores(history), self._failed(history)
        for rung in range(len(self.plan.rungs)):
            if waiting_for(self.plan, scores, rung, earlier=made, failed=failed):
                break
            decision = decide(
                self.plan,
                scores,
                rung,
                chance=self.chance,
                num_images=self.num_images,
                earlier=made,
                failed=failed,
            )
            made.append(decision)
        return made

    def is_over(self, history: History) -> bool:
        """Whether every candidate has been dropped or come to the end."""
        trials = (history.get(spec.key) for spec in self.specs.values())
        return all(trial is not None and trial.status.ended for trial in trials)

    def finalists(self, history: History) -> tuple[str, ...]:
        """The names of those that came first at the horizon, best first; () while it goes on."""
        if not self.is_over(history):
            return ()
        return choose_finalists(self.plan, self.scores(history), failed=self._failed(history))

    def to_json(self, history: History) -> dict[str, Any]:
        """The order at each rung, and whether it was still moving."""
        return {
            "decisions": [made.to_json() for made in self.rungs(history)],
            "movement": [m.to_json() for m in order_movement(self.plan, self.scores(history))],
        }

    def _failed(self, history: History) -> set[str]:
        trials = {name: history.get(spec.key) for name, spec in self.specs.items()}
        return {name for name, t in trials.items() if t and t.status is Status.FAILED}

    def _as_decision(self, made: RungDecision) -> Decision:
        return Decision(
            stage=self.stage,
            epoch=made.epoch,
            promoted=tuple(self.specs[name].key for name in made.promoted),
            stopped=tuple(self.specs[name].key for name in made.stopped),
            report=made.to_json(),
        )


def is_settled(history: History, spec: TrialSpec) -> bool:
    """Whether nothing more is to be had from the trial under this specification."""
    trial = history.get(spec.key)
    if trial is None:
        return False
    dropped_but_wanted_whole = trial.status is Status.PRUNED and not spec.milestones
    return trial.status.ended and not dropped_but_wanted_whole


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
