"""What one trial does, by name: the extension point for stages that do other things than train."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrator.ablation.speed_trials import OBJECTIVE as MEASURE_SPEED
from orchestrator.objectives.distilling import OBJECTIVE as DISTIL
from orchestrator.objectives.distilling import distil_model
from orchestrator.objectives.policies import score_policy, train_fold, train_generation
from orchestrator.objectives.resolution import adapt, sweep_resolutions
from orchestrator.objectives.training import keep_model, recover_model, splits_for, trained
from orchestrator.runners.base import Job, Objective
from orchestrator.trial import Report
from trainer.config import TrainConfig


def train(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Train one configuration, from its checkpoint where there is one, and report every epoch."""
    config = job.spec.config
    assert isinstance(config, TrainConfig)
    splits = splits_for(job, config.data)
    yield from trained(job, config, splits, should_stop, known=job.known_epochs, until=job.until)


def train_model(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """The same, and leave the model where others can use it before the last report is given."""
    config = job.spec.config
    assert isinstance(config, TrainConfig)
    for report in train(job, should_stop):
        if report.get("epoch") == config.epochs:
            keep_model(job, config, report)
        yield report
    if job.known_epochs == config.epochs:  # killed after its last report: nothing was yielded
        recover_model(job, config)


def measure_speed(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """How fast a network answers on this device."""
    from orchestrator.ablation.speed import measure_speed as measure  # loads torch

    yield from measure(job, should_stop)


OBJECTIVES: dict[str, Objective] = {
    "train": train,
    "train-model": train_model,
    "train-fold": train_fold,
    "train-generation": train_generation,
    "score-policy": score_policy,
    "fixres-sweep": sweep_resolutions,
    "fixres": adapt,
    DISTIL: distil_model,
    MEASURE_SPEED: measure_speed,
}
