"""The searchers of policies as parts of a stage: which trials they want, and what they choose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Generic, Protocol, TypeVar

from orchestrator.errors import StageFailed
from orchestrator.history import Decision, History
from orchestrator.objectives.policy_trials import FoldConfig, GenerationConfig, ScoreConfig
from orchestrator.searchers import autoaugment, fast_autoaugment, pba, policy_random, randaugment
from orchestrator.searchers.fast_autoaugment import FastAutoAugmentSettings
from orchestrator.searchers.observation import Observation, best
from orchestrator.searchers.walk import Batch, Walk, reward_of
from orchestrator.stages.augment_plan import STAGE, AugmentPlan
from orchestrator.stages.race import Race
from orchestrator.trial import Scalar, TrialSpec, trial_key
from search_spaces.augmentation import (
    ContinuousSpace,
    Decisions,
    DiscreteSpace,
    Point,
    concatenate,
    randaugment_grid,
)
from search_spaces.population import population_policy
from trainer.augment.policy import AnyPolicy, Augmentation, PolicySchedule, Segment
from trainer.augment.presets import randaugment as randaugment_policy
from trainer.augment.presets import trivialaugment
from trainer.config import TrainConfig

P = TypeVar("P", bound=tuple[float, ...])


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


@dataclass(frozen=True)
class DensitySearch:
    """Policies scored by inference: the models are trained first, one a fold."""

    judges: tuple[TrialSpec, ...]
    walks: tuple[Walk[Point], ...]
    """One for each judge."""
    space: ContinuousSpace
    settings: FastAutoAugmentSettings

    def specs(self, history: History) -> list[TrialSpec]:
        """The judges, and what those that are trained are given to judge."""
        wanted = list(self.judges)
        for judge, walk in zip(self.judges, self.walks, strict=True):
            if _is_trained(history, judge):
                wanted += walk.follow(history).specs
        return wanted

    def is_over(self, history: History) -> bool:
        """Once every judge has judged, or failed."""
        return all(self._is_done(history, n) for n in range(len(self.judges)))

    def decide(self, history: History) -> Decision | None:
        """Nobody is dropped."""
        return None

    def chosen(self, history: History) -> Augmentation:
        """The best policies of every fold that has one. Raises: StageFailed."""
        folds = [observations(walk.follow(history).done) for walk in self.walks]
        scored = [fold for fold in folds if any(seen.reward is not None for seen in fold)]
        if not scored:
            raise StageFailed("fast-autoaugment: no policy of any fold has a score")
        return fast_autoaugment.chosen(scored, space=self.space, settings=self.settings)

    def _is_done(self, history: History, number: int) -> bool:
        trial = history.get(self.judges[number].key)
        if trial is None or not trial.status.ended:
            return False
        failed = not _is_trained(history, self.judges[number])
        return failed or not self.walks[number].follow(history).waiting


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


def search_for(plan: AugmentPlan) -> PolicySearch:
    """The search that the plan asks for."""
    match plan.method:
        case "autoaugment":
            return _autoaugment(plan)
        case "fast-autoaugment":
            return _density(plan, label=plan.method, random=False)
        case "pba":
            return _population(plan)
        case "randaugment":
            return _randaugment(plan)
        case "random":
            return _random(plan, raced=True)
        case "trivialaugment":
            return Given(trivialaugment(side=max(plan.child.model.resolution, 32)))
        case "none":
            return Given(None)


def control_for(plan: AugmentPlan) -> PolicySearch:
    """Random policies, searched at the same cost: as many tried, and chosen in the same way."""
    if plan.method == "fast-autoaugment":
        return _density(plan, label="random search", random=True)
    return _random(plan, raced=False)


def observations(done: Sequence[Batch[P]]) -> list[Observation[P]]:
    """All that was tried, in the order of the proposals."""
    return [
        Observation(decisions=proposal, reward=reward)
        for batch in done
        for proposal, reward in zip(batch.proposals, batch.rewards, strict=True)
    ]


def _autoaugment(plan: AugmentPlan) -> ChildSearch[Decisions]:
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


def _random(plan: AugmentPlan, *, raced: bool) -> PolicySearch:
    space = DiscreteSpace(num_sub_policies=plan.settings.sub_policies)
    proposals = policy_random.propose((), count=plan.trials, seed=plan.child.seed, space=space)
    policy_of = partial(space.policy, name="random")

    def choose(observed: Sequence[Observation[Decisions]]) -> AnyPolicy:
        kept = best(observed, plan.settings.keep)
        if not kept:
            raise StageFailed(f"random: none of {len(observed)} policies has a score")
        return concatenate([policy_of(seen.decisions) for seen in kept], name="random search")

    return _independent(plan, proposals, policy_of, choose, raced=raced, label="random")


def _randaugment(plan: AugmentPlan) -> PolicySearch:
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
) -> PolicySearch:
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


def _density(plan: AugmentPlan, *, label: str, random: bool) -> DensitySearch:
    space = ContinuousSpace(num_sub_policies=plan.settings.sub_policies)
    settings = FastAutoAugmentSettings()
    judges = [_judge(plan, fold) for fold in range(plan.settings.folds)]
    walks = []
    for fold, (judge, key) in enumerate(judges):
        advance = partial(_random_points if random else _next_points, plan, space, settings, fold)
        walks.append(Walk(advance, partial(_scored, plan, space, judge, key, label)))
    trained = tuple(
        plan.spec("train-fold", judge, key, _named(f"judge of fold {judge.fold + 1}", judge))
        for judge, key in judges
    )
    return DensitySearch(judges=trained, walks=tuple(walks), space=space, settings=settings)


def _judge(plan: AugmentPlan, fold: int) -> tuple[FoldConfig, str]:
    config = FoldConfig(
        train=plan.with_policy(None, plan.child), fold=fold, held_out=plan.settings.held_out
    )
    objective = f"train-fold {fold} {config.held_out}"
    return config, trial_key(objective, config.train, fingerprint=plan.evidence.search)


def _next_points(
    plan: AugmentPlan,
    space: ContinuousSpace,
    settings: FastAutoAugmentSettings,
    fold: int,
    done: tuple[Batch[Point], ...],
) -> Sequence[Point]:
    observed = observations(done)
    return fast_autoaugment.propose(
        observed,
        count=min(settings.batch, plan.trials_per_fold - len(observed)),
        seed=plan.child.seed,
        fold=fold,
        space=space,
        settings=settings,
    )


def _random_points(
    plan: AugmentPlan,
    space: ContinuousSpace,
    settings: FastAutoAugmentSettings,
    fold: int,
    done: tuple[Batch[Point], ...],
) -> Sequence[Point]:
    if done:
        return ()
    chances = (
        Random(f"random policy {number} of fold {fold} of {plan.child.seed}")
        for number in range(plan.trials_per_fold)
    )
    return [space.sample(chance) for chance in chances]


def _scored(
    plan: AugmentPlan,
    space: ContinuousSpace,
    judge: FoldConfig,
    judge_key: str,
    label: str,
    point: Point,
) -> TrialSpec:
    config = ScoreConfig(
        judge=judge,
        judge_key=judge_key,
        policy=space.policy(point, name=label),
        draws=plan.settings.draws,
    )
    # Where the images lie is no part of the key; the fingerprint says what they are.
    content = config.with_(judge=judge.with_(train=_placeless(judge.train)))
    key = trial_key("score-policy", content, fingerprint=plan.evidence.search)
    labels = _named(f"{label}, fold {judge.fold + 1}", judge)
    return plan.spec("score-policy", config, key, labels)


def _named(name: str, judge: FoldConfig) -> dict[str, Scalar]:
    return {"name": name, "fold": judge.fold, "seed": judge.train.seed}


def _population(plan: AugmentPlan) -> PopulationSearch:
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


def _placeless(config: TrainConfig) -> TrainConfig:
    return config.with_(data=config.data.with_(dataset=""))


def _is_trained(history: History, spec: TrialSpec) -> bool:
    return reward_of(history.get(spec.key)) is not None
