"""What an ablation will run: rungs with their recipes and seeds, then speeds; pure values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from orchestrator.ablation.ladders import Design, Rung
from orchestrator.ablation.speed_trials import OBJECTIVE as MEASURE
from orchestrator.ablation.speed_trials import SpeedConfig
from orchestrator.estimates import Cost, PlannedRun, bytes_per_param, cost_of
from orchestrator.objectives.distilling import OBJECTIVE as DISTIL
from orchestrator.runners.base import KeepCheckpoints
from orchestrator.stages.micro_batches import in_smaller
from orchestrator.stages.scale.plan import ReportingEvidence
from orchestrator.trial import Bundle, TrialSpec, trial_key
from trainer.complexity import count
from trainer.config import ExecutionConfig, ModelConfig, Strict

STAGE = "ablate"
TRAIN = "train-model"
_MODEL = 4
"""Bytes a parameter of the model that every trial leaves, in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival(Strict):
    """A network that another run has trained on the same images, to stand beside the rungs."""

    name: str
    model: ModelConfig = field(metadata={"discriminator": "family"})
    execution: ExecutionConfig
    epochs: int
    mean: float
    interval: tuple[float, float]
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    """Top-1 by seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AblatePlan:
    """Everything the ablation was told and has worked out, before anything is trained."""

    question: dict[str, Any]
    preset: str | None
    source: str
    """Where the ladder was printed; "" for one's own."""
    design: Design
    rungs: tuple[Rung, ...]
    evidence: ReportingEvidence
    seeds: tuple[int, ...]
    asked_accumulate: int = 1
    """Micro-batches of a step before memory was looked at."""
    teacher: dict[str, Any] | None = None
    """For the record."""
    rivals: tuple[Rival, ...] = ()
    rivals_from: str | None = None
    speed: bool = True
    register: str | None = None
    warnings: tuple[str, ...] = ()
    resources: tuple[Bundle, ...] = (Bundle(),)
    workers: int = 1
    keep_checkpoints: KeepCheckpoints = "best-and-last"
    _specs: dict[tuple[str, int, int], TrialSpec] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )
    """Those made so far: a key is a hash over a whole configuration."""

    @property
    def by_name(self) -> dict[str, Rung]:
        """The rungs."""
        return {rung.name: rung for rung in self.rungs}

    def first_of(self, rung: Rung) -> Rung:
        """The first rung that is the very same training; often the rung itself."""
        return next(other for other in self.rungs if other.train == rung.train)

    @property
    def distinct(self) -> list[Rung]:
        """The rungs that are trained; the one that takes longest first."""
        own = [rung for rung in self.rungs if self.first_of(rung) is rung]
        return sorted(own, key=lambda rung: -rung.work)

    def spec(self, rung: Rung, seed: int, *, accumulate: int | None = None) -> TrialSpec:
        """One training run of one rung, in micro-batches as planned unless said otherwise."""
        rung = self.first_of(rung)
        place = (rung.name, seed, accumulate or rung.train.accumulate)
        if place not in self._specs:
            self._specs[place] = self._spec(rung, *place[1:])
        return self._specs[place]

    def variants(self, rung: Rung, seed: int) -> list[TrialSpec]:
        """From micro-batches as large as asked for to the smallest that can be."""
        asked = rung.train.with_(accumulate=self.asked_accumulate)
        sizes = in_smaller(asked)
        return [self.spec(rung, seed, accumulate=config.accumulate) for config in sizes]

    def _spec(self, rung: Rung, seed: int, accumulate: int) -> TrialSpec:
        config = rung.train.with_(seed=seed, accumulate=accumulate)
        objective = TRAIN if config.distillation is None else DISTIL
        trained = count(config.model)
        return TrialSpec(
            key=trial_key(objective, config, fingerprint=self.evidence.fingerprint),
            stage=STAGE,
            objective=objective,
            config=config,
            labels={
                "name": rung.name,
                "tricks": ",".join(rung.tricks),
                "macs": trained.macs,
                "params": trained.params,
                "resolution": config.model.resolution,
                "test_resolution": rung.test_resolution,
                "seed": seed,
            },
            resources=self.resources,
        )

    def speed_spec(self, model: ModelConfig, execution: ExecutionConfig) -> TrialSpec:
        """The trial that measures a network's inference; equal networks share it."""
        plain = {"dropout": 0.0, "stochastic_depth": 0.0, "zero_gamma": False, "drop_block": None}
        known = {name: value for name, value in plain.items() if hasattr(model, name)}
        config = SpeedConfig(
            model=model.with_(**known),  # what is of no matter at inference
            execution=execution,
            device="cuda" if self.resources[0].gpus else "cpu",
        )
        return TrialSpec(
            key=trial_key(MEASURE, config, fingerprint=""),
            stage=STAGE,
            objective=MEASURE,
            config=config,
            labels={"name": f"speed at {model.resolution} px", "resolution": model.resolution},
            resources=self.resources,
        )

    def speed_of(self, rung: Rung) -> TrialSpec:
        """Of a rung, as it is tested."""
        return self.speed_spec(rung.tested, rung.train.execution)

    def speed_of_rival(self, rival: Rival) -> TrialSpec:
        """Of a network of another run."""
        return self.speed_spec(rival.model, rival.execution)

    @property
    def speeds(self) -> list[TrialSpec]:
        """All measurements, each once."""
        if not self.speed:
            return []
        wanted = [self.speed_of(rung) for rung in self.rungs]
        wanted += [self.speed_of_rival(rival) for rival in self.rivals]
        return list({spec.key: spec for spec in wanted}.values())

    def cost(self, seconds_per_mac: float | None) -> Cost:
        """What training takes, at a rate as measured (see `estimates`)."""
        cost = cost_of(
            list(self._planned()),
            seconds_per_mac=seconds_per_mac,
            workers=self.workers,
            gpus_per_trial=self.resources[0].gpus,
            bytes_per_param=_MODEL + bytes_per_param(self.rungs[0].train, self.keep_checkpoints),
        )
        return cost.with_(trials=cost.trials + len(self.speeds))

    def hours(self, rung: Rung, seconds_per_mac: float) -> float:
        """Of one trial, all its seeds: shared rungs say the same."""
        return rung.work * seconds_per_mac * len(self.seeds) / 3600

    def _planned(self) -> Iterator[PlannedRun]:
        for rung in self.distinct:
            cost = count(rung.train.model)
            run = PlannedRun(macs=cost.macs, params=cost.params, epochs=rung.train.epochs)
            yield from [run] * len(self.seeds)
