"""The search for an augmentation policy, its control, and the verdict on what was found.

AutoAugment (Cubuk 2019, arXiv:1805.09501), Fast AutoAugment (arXiv:1905.00397), population-based
augmentation (arXiv:1905.05393), RandAugment's grid (arXiv:1909.13719), random policies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from orchestrator.errors import StageFailed
from orchestrator.history import Decision, History
from orchestrator.stages.augment import result as augment_result
from orchestrator.stages.augment.methods import PolicySearch, control_for, search_for
from orchestrator.stages.augment.plan import STAGE, AugmentPlan
from orchestrator.stages.base import PlannedStage
from orchestrator.stages.race import is_settled
from orchestrator.trial import TrialSpec
from trainer.augment.policy import Augmentation
from trainer.augment.presets import trivialaugment

Arms: TypeAlias = dict[str, Augmentation | None]
"""Name -> what the training images are put through; None is crop and flip alone."""

CONTROL = "random search"
NOTHING = "none"
YARDSTICK = "trivialaugment"


@dataclass(frozen=True)
class AugmentSearch(PlannedStage[AugmentPlan]):
    """The stage: proposals and the result, all functions of the history."""

    name = STAGE

    def propose(self, history: History, *, count: int, seed: int) -> Sequence[TrialSpec]:
        """The search, then its control, then the arms of the verdict that are known by now.

        So while a batch of the search waits for its last child, the other workers have the rest.
        """
        wanted = [spec for search in self.searches.values() for spec in search.specs(history)]
        for policy in self.arms(history).values():
            wanted += self.runs(policy).values()
        return [spec for spec in wanted if not is_settled(history, spec)]

    def decide(self, history: History) -> Decision | None:
        """The rung that is due in a search that drops children."""
        for search in self.searches.values():
            if decision := search.decide(history):
                return decision
        return None

    def reduce(self, history: History) -> dict[str, Any]:
        """The result document. Raises StageFailed where nothing was found."""
        return augment_result.document(self, history)

    @cached_property
    def searches(self) -> dict[str, PolicySearch]:
        """The search asked for, and its control; by the name of the arm that each leads to."""
        found = {self.plan.method: search_for(self.plan)}
        return found | ({CONTROL: control_for(self.plan)} if self.plan.has_control else {})

    def arms(self, history: History) -> Arms:
        """What the verdict compares, as far as it is known; that which was found first.

        A search that came to nothing has no arm; `reduce` says so.
        """
        arms: Arms = {}
        for name, search in self.searches.items():
            if search.is_over(history):
                try:
                    arms[name] = search.chosen(history)
                except StageFailed:
                    continue
        arms |= self.plan.given
        if self.plan.controls:
            yardstick = trivialaugment(side=max(self.plan.final.model.resolution, 32))
            arms = {**arms, YARDSTICK: yardstick, NOTHING: None}
        return arms

    def runs(self, policy: Augmentation | None) -> dict[int, TrialSpec]:
        """The trials behind an arm's mean, by seed."""
        if policy not in self._runs:
            config = self.plan.with_policy(policy, self.plan.final)
            name = NOTHING if policy is None else policy.name
            self._runs[policy] = {
                seed: self.plan.trial(
                    config.with_(seed=seed), labels={"name": f"verdict on {name}", "seed": seed}
                )
                for seed in self.plan.seeds
            }
        return self._runs[policy]

    @cached_property
    def _runs(self) -> dict[Augmentation | None, dict[int, TrialSpec]]:
        return {}  # a key is a hash over a whole configuration: worth keeping
