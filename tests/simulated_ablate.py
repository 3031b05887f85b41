"""A learner that only pretends to train: each trick is worth what the table says."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from orchestrator.ablation.ladders import BASE, Design, Step, equally_long, rungs_of
from orchestrator.ablation.speed_trials import SpeedConfig
from orchestrator.ablation.steps import parse_tricks
from orchestrator.ablation.teacher import unnamed_teacher
from orchestrator.ablation.trick import Means
from orchestrator.runners.base import Job, Objectives
from orchestrator.stages.ablate.plan import AblatePlan
from orchestrator.stages.evidence import ReportingEvidence
from orchestrator.trial import Report
from trainer.complexity import count
from trainer.config import DataConfig, TrainConfig
from trainer.models.resnets import named_resnet

NETWORK = named_resnet("resnet-50-small", num_classes=10, width="0.25")
START = TrainConfig(model=NETWORK, epochs=4, data=DataConfig(evaluate_on="reporting"))
WORTH: Mapping[str, float] = {
    "label-smoothing": 0.03,
    "mixup": 0.0,
    "dropout": -0.03,
    "epochs-2x": 0.02,
    "sk": 0.02,
}
TRICKS = "label-smoothing,mixup,dropout"


def learn(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Accuracy is the sum of what the tricks are worth, and differs by seed."""
    config = job.spec.config
    assert isinstance(config, TrainConfig)
    noise = random.Random(str(config.to_json())).gauss(0, 0.003)
    tricks = str(job.spec.labels["tricks"]).split(",")
    best = 0.7 + sum(WORTH.get(name, 0.0) for name in tricks) + noise
    for epoch in range(job.known_epochs + 1, (job.until or config.epochs) + 1):
        if should_stop():
            return
        top1 = best * epoch / config.epochs
        yield {"epoch": epoch, "top1": top1, "seconds": 2.0, "images_per_second": 500.0}


def measure(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Speed goes with multiply-adds."""
    config = job.spec.config
    assert isinstance(config, SpeedConfig)
    macs = [count(network.model).macs for network in config.networks]
    yield {
        "epoch": 1,
        "networks": [
            {
                "latency_seconds": number / 1e10,
                "latency_range": [0.9 * number / 1e10, 1.2 * number / 1e10],
                "images_per_second": 2e10 / number,
                "images_per_second_range": [1.9e10 / number, 2.1e10 / number],
                "batch_size": 64,
                "precision": "fp32",
                "channels_last": True,
            }
            for number in macs
        ],
        "device": "a pretended one",
        "threads": 1,
        "rounds": 5,
        "cpu_share": 1.0,
        "seconds": 1.0,
    }


LEARNER: Objectives = {"train-model": learn, "distil-model": learn, "measure-speed": measure}


def ablate_plan(
    tricks: str = TRICKS,
    *,
    design: Design = "cumulative",
    seeds: int = 3,
    equal_epochs: bool = False,
    **changes: Any,
) -> AblatePlan:
    """A ladder on a small bottleneck network, three seeds."""
    steps = [Step(name=BASE)]
    for together in parse_tricks(tricks):
        steps.append(Step(name="+".join(t.name for t in together), adds=tuple(together)))
    means = Means(teacher=unnamed_teacher(NETWORK))
    base = START
    for trick in (trick for step in steps for trick in step.adds):
        base = trick.off(base, means)
    rungs, notes = rungs_of(base, steps, means, design)
    values: dict[str, Any] = {
        "question": {"asked": [tricks, design, seeds]},
        "network": "resnet-50-small, width 0.25",
        "preset": None,
        "source": "",
        "design": design,
        "rungs": equally_long(rungs) if equal_epochs else rungs,
        "evidence": ReportingEvidence(
            fingerprint="f", train_images=1000, num_images=50_000, chance=0.1
        ),
        "seeds": tuple(range(seeds)),
        "warnings": notes,
    }
    return AblatePlan(**{**values, **changes})
