"""What a policy search will train: children, folds, members, and the arms of its verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Literal, TypeAlias

from orchestrator.estimates import Cost, PlannedRun, bytes_per_param, cost_of
from orchestrator.runners.base import KeepCheckpoints
from orchestrator.searchers.autoaugment import AutoAugmentSettings
from orchestrator.selection.halving import HalvingPlan
from orchestrator.trial import Bundle, Scalar, TrialSpec, trial_key
from trainer.augment.policy import Augmentation
from trainer.complexity import count
from trainer.config import Strict, TrainConfig

STAGE = "search-augment"

Method: TypeAlias = Literal[
    "autoaugment", "fast-autoaugment", "pba", "randaugment", "random", "trivialaugment", "none"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentEvidence(Strict):
    """What accuracies are measured on."""

    search: str
    """Fingerprint of what the search learns from and selects on."""
    verdict: str
    """Fingerprint of what the verdict learns from and reports on."""
    train_images: int
    """That a child learns from."""
    all_train_images: int
    """That the arms of the verdict learn from."""
    num_images: int
    """In the selection split."""
    reporting_images: int
    chance: float
    """Accuracy of always guessing the selection split's most frequent class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentSettings(Strict):
    """How the searchers go about it."""

    sub_policies: int = 5
    """Of a policy that is tried; the best ones together make the result."""
    keep: int = 5
    """Best policies whose sub-policies make the result; of each fold, 10 (Lim 2019)."""
    folds: int = 5
    held_out: float = 0.4
    draws: int = 5
    """Augmented copies of an image by which a policy is scored."""
    interval: int = 3
    """Epochs of a generation."""
    controller: AutoAugmentSettings = field(default_factory=AutoAugmentSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentPlan:
    """Everything the search was told and has worked out, before anything is trained."""

    question: dict[str, Any]
    """The options as asked, for the record."""
    method: Method
    trials: int
    """Policies that are tried, or members of the population."""
    settings: AugmentSettings
    child: TrainConfig
    """How a child is trained: on the reduced training split, judged on the selection split."""
    final: TrainConfig
    """How an arm of the verdict is trained: on all of it, judged on the reporting split."""
    evidence: AugmentEvidence
    num_seeds: int
    """Runs behind the mean of an arm."""
    halving: HalvingPlan | None = None
    """Of children that do not learn from each other; None trains each to its end."""
    controls: bool = True
    given: Mapping[str, Augmentation] = field(default_factory=dict)
    """Policies of the user's, by name: further arms."""
    resources: tuple[Bundle, ...] = (Bundle(),)
    workers: int = 1
    keep_checkpoints: KeepCheckpoints = "best-and-last"

    @property
    def seeds(self) -> tuple[int, ...]:
        """Of the arms; none that the search has used."""
        first = self.child.seed + 1
        return tuple(range(first, first + self.num_seeds))

    @property
    def searches(self) -> bool:
        """Whether the method tries anything."""
        return self.method not in ("trivialaugment", "none")

    def with_policy(self, policy: Augmentation | None, config: TrainConfig) -> TrainConfig:
        """A training run that is augmented so, after the crop and flip that suit the data."""
        return config.with_(augment=config.augment.with_(policy=policy))

    def trial(
        self,
        config: TrainConfig,
        *,
        labels: dict[str, Scalar],
        milestones: tuple[int, ...] = (),
    ) -> TrialSpec:
        """A trial that trains, as a child or as an arm of the verdict."""
        reporting = config.data.evaluate_on == "reporting"
        fingerprint = self.evidence.verdict if reporting else self.evidence.search
        return self.spec(
            "train", config, trial_key("train", config, fingerprint=fingerprint), labels, milestones
        )

    def spec(
        self,
        objective: str,
        config: Strict,
        key: str,
        labels: dict[str, Scalar],
        milestones: tuple[int, ...] = (),
    ) -> TrialSpec:
        """A trial of this stage."""
        return TrialSpec(
            key=key,
            stage=STAGE,
            objective=objective,
            config=config,
            labels=labels,
            milestones=milestones,
            resources=self.resources,
        )

    def cost(self, seconds_per_mac: float | None) -> Cost:
        """What it takes, at a rate as measured on the whole training split (see `estimates`)."""
        return cost_of(
            list(self._planned()),
            seconds_per_mac=seconds_per_mac,
            workers=self.workers,
            gpus_per_trial=self.resources[0].gpus,
            bytes_per_param=bytes_per_param(self.child, self.keep_checkpoints),
        )

    def _planned(self) -> Iterator[PlannedRun]:
        network, share = count(self.child.model), self._share
        child = PlannedRun(
            macs=round(network.macs * share), params=network.params, epochs=self.child.epochs
        )
        for search in self._searches():
            yield from search(child)
        arm = PlannedRun(macs=network.macs, params=network.params, epochs=self.final.epochs)
        arms = 1 + len(self.given) + (2 if self.controls else 0) + self.has_control
        yield from [arm] * (arms * self.num_seeds)

    @property
    def has_control(self) -> bool:
        """Whether random policies are searched at the same cost: the control of a real search."""
        return self.controls and self.searches and self.method != "random"

    def _searches(self) -> Iterator[Any]:
        own = {"fast-autoaugment": self._scored, "pba": self._grown}.get(self.method)
        if self.searches:
            yield own or self._trained
        if self.has_control:
            yield self._scored_again if self.method == "fast-autoaugment" else self._whole

    def _trained(self, child: PlannedRun) -> Iterator[PlannedRun]:
        if self.halving is None:
            yield from self._whole(child)
            return
        left = self.halving.num_trials
        ends = [*self.halving.rungs, self.halving.horizon]
        for end, passing in zip(ends, [*self.halving.keep, 0], strict=True):
            ended = left - passing
            yield from [_until(child, end)] * ended
            left = passing

    def _whole(self, child: PlannedRun) -> Iterator[PlannedRun]:
        yield from [child] * self.trials

    def _scored(self, child: PlannedRun) -> Iterator[PlannedRun]:
        kept = 1 - self.settings.held_out
        for _ in range(self.settings.folds):
            yield PlannedRun(
                macs=round(child.macs * kept), params=child.params, epochs=child.epochs
            )
        yield from self._scored_again(child)

    def _scored_again(self, child: PlannedRun) -> Iterator[PlannedRun]:
        copies = self.settings.held_out * self.settings.draws / 3  # a forward pass is a third
        scored = PlannedRun(macs=round(child.macs * copies), params=0, epochs=1)
        yield from [scored] * (self.trials_per_fold * self.settings.folds)

    def _grown(self, child: PlannedRun) -> Iterator[PlannedRun]:
        for generation in range(self.generations):
            begin = generation * self.settings.interval
            end = min(begin + self.settings.interval, child.epochs)
            kept = generation >= self.generations - 2  # the others' checkpoints are removed
            part = PlannedRun(
                macs=child.macs, params=child.params if kept else 0, epochs=end - begin
            )
            yield from [part] * self.trials

    @property
    def _share(self) -> float:
        return self.evidence.train_images / self.evidence.all_train_images

    @property
    def trials_per_fold(self) -> int:
        """Policies that each fold scores."""
        return ceil(self.trials / self.settings.folds)

    @property
    def generations(self) -> int:
        """Of a population."""
        return ceil(self.child.epochs / self.settings.interval)


def _until(run: PlannedRun, epochs: int) -> PlannedRun:
    return PlannedRun(macs=run.macs, params=run.params, epochs=epochs)
