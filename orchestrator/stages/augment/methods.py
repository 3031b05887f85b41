"""The searchers of policies as a stage sees them: which trials they want, and what they choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from orchestrator.history import Decision, History
from orchestrator.stages.augment.children import (
    autoaugment_search,
    randaugment_search,
    random_search,
)
from orchestrator.stages.augment.density import density_search
from orchestrator.stages.augment.plan import AugmentPlan
from orchestrator.stages.augment.population import population_search
from orchestrator.trial import TrialSpec
from trainer.augment.policy import Augmentation
from trainer.augment.presets import trivialaugment


class PolicySearch(Protocol):
    """A search for a policy. Everything it says is a function of the history."""

    def specs(self, history: History) -> list[TrialSpec]:
        """The trials that are wanted as far as is known, those that have ended among them."""
        ...

    def is_over(self, history: History) -> bool:
        """Whether nothing more will be wanted."""
        ...

    def decide(self, history: History) -> Decision | None:
        """The decision that is due."""
        ...

    def chosen(self, history: History) -> Augmentation | None:
        """What was found, once it is over; None is no policy. Raises: StageFailed."""
        ...


@dataclass(frozen=True)
class Given:
    """Nothing to search: the policy is there."""

    policy: Augmentation | None

    def specs(self, history: History) -> list[TrialSpec]:
        """None."""
        return []

    def is_over(self, history: History) -> bool:
        """From the beginning."""
        return True

    def decide(self, history: History) -> Decision | None:
        """Nothing to decide."""
        return None

    def chosen(self, history: History) -> Augmentation | None:
        """As given."""
        return self.policy


def search_for(plan: AugmentPlan) -> PolicySearch:
    """The search that the plan asks for."""
    match plan.method:
        case "autoaugment":
            return autoaugment_search(plan)
        case "fast-autoaugment":
            return density_search(plan, label=plan.method, random=False)
        case "pba":
            return population_search(plan)
        case "randaugment":
            return randaugment_search(plan)
        case "random":
            return random_search(plan, raced=True)
        case "trivialaugment":
            return Given(trivialaugment(side=max(plan.child.model.resolution, 32)))
        case "none":
            return Given(None)


def control_for(plan: AugmentPlan) -> PolicySearch:
    """Random policies, searched at the same cost: as many tried, and chosen in the same way."""
    if plan.method == "fast-autoaugment":
        return density_search(plan, label="random search", random=True)
    return random_search(plan, raced=False)
