"""What an ablation will run: rungs with their recipes and seeds, then speeds; pure values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from orchestrator.ablation.ladders import Design, Rung
from orchestrator.ablation.speed_trials import OBJECTIVE as MEASURE
from orchestrator.ablation.speed_trials import SpeedConfig, TimedNetwork
from orchestrator.estimates import Cost, PlannedRun, bytes_per_param, cost_of
from orchestrator.objectives.distilling import OBJECTIVE as DISTIL
from orchestrator.runners.base import KeepCheckpoints
from orchestrator.stages.evidence import ReportingEvidence
from orchestrator.stages.micro_batches import in_smaller
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
    network: str
    """Its name and width, as they are asked for."""
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
    speed_again: int = 0
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

    @property
    def timed(self) -> tuple[TimedNetwork, ...]:
        """The networks whose speed is measured, each once: rungs as they are tested, and rivals."""
        wanted = [self.timed_rung(rung) for rung in self.rungs]
        wanted += [self.timed_rival(rival) for rival in self.rivals]
        return tuple(dict.fromkeys(wanted)) if self.speed else ()

    def timed_rung(self, rung: Rung) -> TimedNetwork:
        """What is measured for a rung."""
        return self._timed(rung.tested, rung.train.execution)

    def timed_rival(self, rival: Rival) -> TimedNetwork:
        """What is measured for a network of another run."""
        return self._timed(rival.model, rival.execution)

    def _timed(self, model: ModelConfig, execution: ExecutionConfig) -> TimedNetwork:
        plain = {"dropout": 0.0, "stochastic_depth": 0.0, "zero_gamma": False, "drop_block": None}
        known = {name: value for name, value in plain.items() if hasattr(model, name)}
        return TimedNetwork(
            model=model.with_(**known),  # what is of no matter at inference
            execution=execution.with_(threads=self.threads),
        )

    @property
    def threads(self) -> int:
        """That all networks are measured with."""
        return self.rungs[0].train.execution.threads

    @property
    def speed_spec(self) -> TrialSpec | None:
        """The trial that measures all of them in turn; None where that is not wanted.

        With another rung it is another trial: speeds of one table are of one hour and one machine.
        """
        if not self.timed:
            return None
        config = SpeedConfig(
            networks=self.timed,
            threads=self.threads,
            device="cuda" if self.resources[0].gpus else "cpu",
            again=self.speed_again,
        )
        return TrialSpec(
            key=trial_key(MEASURE, config, fingerprint=""),
            stage=STAGE,
            objective=MEASURE,
            config=config,
            labels={"name": f"speed of {len(self.timed)} networks"},
            resources=self.resources,
        )

    def cost(self, seconds_per_mac: float | None) -> Cost:
        """What training takes, at a rate as measured (see `estimates`)."""
        cost = cost_of(
            list(self._planned()),
            seconds_per_mac=seconds_per_mac,
            workers=self.workers,
            gpus_per_trial=self.resources[0].gpus,
            bytes_per_param=_MODEL + bytes_per_param(self.rungs[0].train, self.keep_checkpoints),
        )
        return cost.with_(trials=cost.trials + bool(self.timed))

    def hours(self, rung: Rung, seconds_per_mac: float) -> float:
        """Of one trial, all its seeds: shared rungs say the same."""
        return rung.work * seconds_per_mac * len(self.seeds) / 3600

    def _planned(self) -> Iterator[PlannedRun]:
        for rung in self.distinct:
            params = count(rung.train.model).params
            run = PlannedRun(macs=rung.train_macs, params=params, epochs=rung.train.epochs)
            yield from [run] * len(self.seeds)
