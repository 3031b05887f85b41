"""A learner that only pretends to train, but knows how much rotation does it good."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from orchestrator.objectives.policy_trials import FoldConfig, GenerationConfig, ScoreConfig
from orchestrator.runners.base import Job, Objectives
from orchestrator.stages.augment.plan import AugmentEvidence, AugmentPlan, AugmentSettings
from orchestrator.trial import Report
from trainer.augment.policy import Augmentation, ColorPipeline, PolicySchedule
from trainer.config import TrainConfig
from trainer.models.children import child

EPOCHS = 6


def worth(augmentation: Augmentation | None) -> float:
    """The share of operations that rotate, times 0.2; nothing else matters."""
    if augmentation is None or isinstance(augmentation, ColorPipeline):
        return 0.0
    if isinstance(augmentation, PolicySchedule):
        return sum(worth(s.policy) * s.epochs for s in augmentation.segments) / augmentation.epochs
    chances = [op.probability for op in augmentation.all_operations if op.name == "rotate"]
    return 0.2 * sum(chances) / len(augmentation.all_operations)


def _accuracy(config: TrainConfig, epoch: int) -> float:
    noise = random.Random(f"{epoch} {config.to_json()}").gauss(0, 0.004)
    return min(1.0, 0.5 + 0.05 * epoch / config.epochs + worth(config.augment.policy) + noise)


def _curve(config: TrainConfig, epochs: range, should_stop: Callable[[], bool]) -> Iterator[Report]:
    for number, epoch in enumerate(epochs, start=1):
        if should_stop():
            return
        yield {"epoch": number, "top1": _accuracy(config, epoch), "seconds": 1.0}


def _train(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    config = job.spec.config
    assert isinstance(config, TrainConfig)
    for report in _curve(config, range(1, (job.until or config.epochs) + 1), should_stop):
        if report["epoch"] > job.known_epochs:
            yield report


def _fold(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    config = job.spec.config
    assert isinstance(config, FoldConfig)
    yield from _curve(config.train, range(1, config.train.epochs + 1), should_stop)


def _generation(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    config = job.spec.config
    assert isinstance(config, GenerationConfig)
    yield from _curve(config.train, range(config.begin + 1, config.end + 1), should_stop)


def _score(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    config = job.spec.config
    assert isinstance(config, ScoreConfig)
    yield {"epoch": 1, "top1": 0.4 + worth(config.policy), "seconds": 0.1}


LEARNER: Objectives = {
    "train": _train,
    "train-fold": _fold,
    "train-generation": _generation,
    "score-policy": _score,
}


def augment_plan(**changes: Any) -> AugmentPlan:
    """A search with small everything."""
    recipe = TrainConfig(model=child("wrn-10-0.25", num_classes=10, resolution=32), epochs=EPOCHS)
    settings = AugmentSettings(sub_policies=2, keep=2, folds=2, interval=2)
    values: dict[str, Any] = {
        "question": {"asked": sorted(changes)},
        "method": "random",
        "trials": 10,
        "settings": settings,
        "child": recipe,
        "final": recipe.with_(data=recipe.data.with_(evaluate_on="reporting")),
        "evidence": AugmentEvidence(
            search="s",
            verdict="v",
            train_images=500,
            all_train_images=1000,
            num_images=100_000,
            reporting_images=100_000,
            chance=0.1,
        ),
        "num_seeds": 3,
    }
    return AugmentPlan(**{**values, **changes})
