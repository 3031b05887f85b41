"""A schedule that a population finds while it trains (Ho 2019, arXiv:1905.05393)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from orchestrator.errors import StageFailed
from orchestrator.history import Decision, History
from orchestrator.objectives.policy_trials import GenerationConfig
from orchestrator.searchers import pba
from orchestrator.searchers.walk import Batch, Walk
from orchestrator.stages.augment.plan import AugmentPlan
from orchestrator.trial import Scalar, TrialSpec, trial_key
from search_spaces.augmentation import (
    Decisions,
)
from search_spaces.population import population_policy
from trainer.augment.policy import Augmentation, PolicySchedule, Segment


@dataclass(frozen=True, slots=True)
class Lineage:
    """A member of a population in one generation, with what its ancestors were augmented by."""

    place: int
    seed: int
    parameters: tuple[Decisions, ...]
    """Of each generation up to this one."""
    parent: str | None = None
    retires: str | None = None


@dataclass(frozen=True)
class PopulationSearch:
    """A population whose best members' weights and augmentation are taken over by the worst."""

    walk: Walk[Lineage]
    epochs: int
    interval: int

    def specs(self, history: History) -> list[TrialSpec]:
        """The generations so far."""
        return self.walk.follow(history).specs

    def is_over(self, history: History) -> bool:
        """After the last generation, or the one that nobody survived."""
        return not self.walk.follow(history).waiting

    def decide(self, history: History) -> Decision | None:
        """A worse member goes on from another's weights: nobody is dropped."""
        return None

    def chosen(self, history: History) -> Augmentation:
        """The schedule of the winner and its ancestors. Raises: StageFailed."""
        *_, last = self.walk.follow(history).done
        scored = [(r, -n) for n, r in enumerate(last.rewards) if r is not None]
        if not scored:
            raise StageFailed("pba: no member of the last generation has a score")
        winner = last.proposals[-max(scored)[1]]
        return _schedule(winner.parameters, interval=self.interval, epochs=self.epochs)


def population_search(plan: AugmentPlan) -> PopulationSearch:
    """As many members as policies may be tried, over the epochs of a child."""
    return PopulationSearch(
        walk=Walk(partial(_next_generation, plan), partial(_member, plan)),
        epochs=plan.child.epochs,
        interval=plan.settings.interval,
    )


def _next_generation(plan: AugmentPlan, done: tuple[Batch[Lineage], ...]) -> Sequence[Lineage]:
    if len(done) == plan.generations:
        return ()
    try:
        generations = pba.evolve(
            [batch.rewards for batch in done], size=plan.trials, seed=plan.child.seed
        )
    except StageFailed:  # nobody is left; `chosen` says so
        return ()
    return list(_members(plan, generations[-1], done))


def _members(
    plan: AugmentPlan, members: Sequence[pba.NextMember], done: tuple[Batch[Lineage], ...]
) -> Iterator[Lineage]:
    for place, member in enumerate(members):
        if not done:
            yield Lineage(place, plan.child.seed + place, (member.parameters,))
            continue
        parent = done[-1].proposals[member.parent]
        yield Lineage(
            place,
            parent.seed,
            (*parent.parameters, member.parameters),
            parent=done[-1].specs[member.parent].key,
            retires=done[-2].specs[place].key if len(done) > 1 else None,
        )


def _member(plan: AugmentPlan, lineage: Lineage) -> TrialSpec:
    interval, epochs = plan.settings.interval, plan.child.epochs
    generation = len(lineage.parameters)
    schedule = _schedule(lineage.parameters, interval=interval, epochs=epochs)
    config = GenerationConfig(
        train=plan.with_policy(schedule, plan.child.with_(seed=lineage.seed)),
        begin=interval * (generation - 1),
        end=min(interval * generation, epochs),
        parent=lineage.parent,
        retires=lineage.retires,
    )
    # Whose checkpoint saves time, and whose is removed, does not change what comes of it.
    key = trial_key(
        f"train-generation {config.begin} {config.end}",
        config.train,
        fingerprint=plan.evidence.search,
    )
    labels: dict[str, Scalar] = {
        "name": f"member {lineage.place + 1}, generation {generation}",
        "member": lineage.place + 1,
        "generation": generation,
        "parent": lineage.parent or "",
        "seed": lineage.seed,
    }
    return plan.spec("train-generation", config, key, labels)


def _schedule(parameters: Sequence[Decisions], *, interval: int, epochs: int) -> PolicySchedule:
    """What a lineage is augmented by; after its last generation, as in it."""
    return PolicySchedule(
        name="pba",
        segments=tuple(
            Segment(epochs=segment.epochs, policy=population_policy(segment.parameters, name="pba"))
            for segment in pba.lineage_schedule(parameters, interval=interval, epochs=epochs)
        ),
    )
