"""Policies that are judged by training a child with each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from orchestrator.errors import StageFailed
from orchestrator.history import Decision, History
from orchestrator.searchers import autoaugment, policy_random, randaugment
from orchestrator.searchers.observation import Observation, best
from orchestrator.searchers.walk import Batch, Walk, reward_of
from orchestrator.stages.augment.plan import STAGE, AugmentPlan
from orchestrator.stages.race import Race
from orchestrator.trial import Scalar, TrialSpec
from search_spaces.augmentation import (
    Decisions,
    DiscreteSpace,
    concatenate,
    randaugment_grid,
)
from trainer.augment.policy import AnyPolicy, Augmentation
from trainer.augment.presets import randaugment as randaugment_policy

P = TypeVar("P", bound=tuple[float, ...])


@dataclass(frozen=True)
class ChildSearch(Generic[P]):
    """Children trained to their end, a batch at a time; each batch may learn from those before."""

    walk: Walk[P]
    choose: Callable[[Sequence[Observation[P]]], AnyPolicy]

    def specs(self, history: History) -> list[TrialSpec]:
        """The children so far."""
        return self.walk.follow(history).specs

    def is_over(self, history: History) -> bool:
        """Once no batch is under way."""
        return not self.walk.follow(history).waiting

    def decide(self, history: History) -> Decision | None:
        """Nobody is dropped."""
        return None

    def chosen(self, history: History) -> Augmentation:
        """What the searcher makes of all children. Raises: StageFailed."""
        return self.choose(observations(self.walk.follow(history).done))


@dataclass(frozen=True)
class RacedSearch(Generic[P]):
    """Children that learn nothing from each other: the weaker are dropped on the way."""

    race: Race
    proposals: Mapping[str, P]
    choose: Callable[[Sequence[Observation[P]]], AnyPolicy]

    def specs(self, history: History) -> list[TrialSpec]:
        """All children."""
        return list(self.race.specs.values())

    def is_over(self, history: History) -> bool:
        """Once every child was dropped or has come to the end."""
        return self.race.is_over(history)

    def decide(self, history: History) -> Decision | None:
        """The rung that is due."""
        return self.race.decide(history)

    def chosen(self, history: History) -> Augmentation:
        """What the searcher makes of those that came to the end. Raises: StageFailed."""
        return self.choose(
            [
                Observation(decisions=self.proposals[name], reward=reward_of(history.get(spec.key)))
                for name, spec in self.race.specs.items()
            ]
        )


def autoaugment_search(plan: AugmentPlan) -> ChildSearch[Decisions]:
    """Children of a controller that learns from them, batch by batch."""
    space = DiscreteSpace(num_sub_policies=plan.settings.sub_policies)
    settings = plan.settings.controller

    def advance(done: tuple[Batch[Decisions], ...]) -> Sequence[Decisions]:
        observed = observations(done)
        return autoaugment.propose(
            observed,
            count=min(settings.batch, plan.trials - len(observed)),
            seed=plan.child.seed,
            space=space,
            settings=settings,
        )

    return ChildSearch(
        walk=Walk(advance, _child_maker(plan, partial(space.policy, name="autoaugment"))),
        choose=partial(autoaugment.chosen, space=space, settings=settings),
    )


def random_search(
    plan: AugmentPlan, *, raced: bool
) -> ChildSearch[Decisions] | RacedSearch[Decisions]:
    """Random policies; unless they are raced, each is trained to its end."""
    space = DiscreteSpace(num_sub_policies=plan.settings.sub_policies)
    proposals = policy_random.propose((), count=plan.trials, seed=plan.child.seed, space=space)
    policy_of = partial(space.policy, name="random")

    def choose(observed: Sequence[Observation[Decisions]]) -> AnyPolicy:
        kept = best(observed, plan.settings.keep)
        if not kept:
            raise StageFailed(f"random: none of {len(observed)} policies has a score")
        return concatenate([policy_of(seen.decisions) for seen in kept], name="random search")

    return _independent(plan, proposals, policy_of, choose, raced=raced, label="random")


def randaugment_search(
    plan: AugmentPlan,
) -> ChildSearch[randaugment.Setting] | RacedSearch[randaugment.Setting]:
    """The pairs (N, M) of RandAugment's grid, or as many of them as may be tried."""
    grid = randaugment_grid()
    proposals = randaugment.propose((), count=plan.trials, seed=plan.child.seed, grid=grid)

    def policy_of(setting: randaugment.Setting) -> AnyPolicy:
        return randaugment_policy(num_ops=setting[0], magnitude=setting[1])

    return _independent(
        plan, proposals, policy_of, randaugment.chosen, raced=True, label="randaugment"
    )


def _independent(
    plan: AugmentPlan,
    proposals: Sequence[P],
    policy_of: Callable[[P], AnyPolicy],
    choose: Callable[[Sequence[Observation[P]]], AnyPolicy],
    *,
    raced: bool,
    label: str,
) -> ChildSearch[P] | RacedSearch[P]:
    """Proposals that are all known from the beginning: raced if so planned, else one batch."""
    halving = plan.halving if raced else None
    spec_of = _child_maker(plan, policy_of, milestones=halving.rungs if halving else ())
    if halving is None:
        return ChildSearch(
            walk=Walk(lambda done: () if done else proposals, spec_of), choose=choose
        )
    named = {f"{label} {number}": proposal for number, proposal in enumerate(proposals, start=1)}
    race = Race(
        stage=STAGE,
        plan=halving,
        specs={name: spec_of(proposal) for name, proposal in named.items()},
        chance=plan.evidence.chance,
        num_images=plan.evidence.num_images,
    )
    return RacedSearch(race=race, proposals=named, choose=choose)


def _child_maker(
    plan: AugmentPlan, policy_of: Callable[[P], AnyPolicy], *, milestones: tuple[int, ...] = ()
) -> Callable[[P], TrialSpec]:
    def child(proposal: P) -> TrialSpec:
        policy = policy_of(proposal)
        labels: dict[str, Scalar] = {"name": f"child of {policy.name}", "seed": plan.child.seed}
        config = plan.with_policy(policy, plan.child)
        return plan.trial(config, labels=labels, milestones=milestones)

    return child


def observations(done: Sequence[Batch[P]]) -> list[Observation[P]]:
    """All that was tried, in the order of the proposals."""
    return [
        Observation(decisions=proposal, reward=reward)
        for batch in done
        for proposal, reward in zip(batch.proposals, batch.rewards, strict=True)
    ]
