"""What a family's training will run: sizes, each with its recipe and its seeds; pure values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from orchestrator.estimates import Cost, PlannedRun, bytes_per_param, cost_of
from orchestrator.runners.base import KeepCheckpoints
from orchestrator.stages.evidence import ReportingEvidence
from orchestrator.stages.scale.weights import GivenNetwork
from orchestrator.trial import Bundle, TrialSpec, trial_key
from search_spaces.compound_scaling import Baseline, ScalingCoefficients
from search_spaces.family_tables import Size
from trainer.config import Strict, TrainConfig

STAGE = "scale"
OBJECTIVE = "train-model"
_MODEL = 4
"""Bytes a parameter of the model that every trial leaves, in float32."""
FAR = 0.05
"""A single axis that misses the compound network's cost by more is pointed out."""

Table: TypeAlias = Literal["published", "exact", "given"]
"""`given` is the network of some weights, as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member(Strict):
    """A size and how it is trained."""

    size: Size
    train: TrainConfig
    """With the first seed, judged on the reporting split, in micro-batches that fit into memory."""
    asked_accumulate: int = 1
    """Micro-batches of a step before memory was looked at."""
    fits: bool = True
    """Whether a step fits into memory, as far as that is known."""

    @property
    def name(self) -> str:
        """As tables and sentences call it."""
        return self.size.name

    @property
    def work(self) -> int:
        """What a run of it takes, up to a factor: an image costs these multiply-adds each epoch."""
        return self.size.cost.macs * self.train.epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalePlan:
    """Everything the training was told and has worked out, before anything is trained."""

    question: dict[str, Any]
    """The options as asked, for the record."""
    table: Table
    start: Baseline | GivenNetwork
    coefficients: ScalingCoefficients | None
    """None for the other tables."""
    members: tuple[Member, ...]
    evidence: ReportingEvidence
    seeds: tuple[int, ...]
    """None that the search behind the coefficients has used."""
    source: dict[str, Any] = field(default_factory=dict)
    """The run that the coefficients are from."""
    weights: dict[str, Any] = field(default_factory=dict)
    """What training begins from, for the record; empty where it begins from chance."""
    register: str | None = None
    """What the models are registered as."""
    warnings: tuple[str, ...] = ()
    resources: tuple[Bundle, ...] = (Bundle(),)
    workers: int = 1
    """Trials at a time, for estimates."""
    keep_checkpoints: KeepCheckpoints = "best-and-last"

    @property
    def longest_first(self) -> list[Member]:
        """The members, the one that takes longest first: it must not be left for the end."""
        return sorted(self.members, key=lambda member: (-member.work, member.name))

    def spec(self, member: Member, seed: int, *, accumulate: int | None = None) -> TrialSpec:
        """One training run of one member, in micro-batches as planned unless said otherwise."""
        config = member.train.with_(seed=seed, accumulate=accumulate or member.train.accumulate)
        return TrialSpec(
            key=trial_key(OBJECTIVE, config, fingerprint=self.evidence.fingerprint),
            stage=STAGE,
            objective=OBJECTIVE,
            config=config,
            labels={
                "name": member.name,
                "mode": member.size.mode,
                "phi": member.size.phi,
                "macs": member.size.cost.macs,
                "macs_ratio": member.size.macs_ratio,
                "params": member.size.cost.params,
                "resolution": member.size.config.resolution,
                "seed": seed,
            },
            resources=self.resources,
        )

    def cost(self, seconds_per_mac: float | None) -> Cost:
        """What it takes, at a rate as measured (see `estimates`)."""
        return cost_of(
            list(self._planned()),
            seconds_per_mac=seconds_per_mac,
            workers=self.workers,
            gpus_per_trial=self.resources[0].gpus,
            bytes_per_param=_MODEL + bytes_per_param(self.members[0].train, self.keep_checkpoints),
        )

    def _planned(self) -> Iterable[PlannedRun]:
        for member in self.members:
            run = PlannedRun(
                macs=member.size.cost.macs,
                params=member.size.cost.params,
                epochs=member.train.epochs,
            )
            yield from [run] * len(self.seeds)
