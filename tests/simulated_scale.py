"""A learner that only pretends to train: larger networks are better, and compound ones best."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from orchestrator.runners.base import Job, Objectives
from orchestrator.stages.evidence import ReportingEvidence
from orchestrator.stages.scale.plan import Member, ScalePlan
from orchestrator.trial import Report
from search_spaces.compound_scaling import Baseline, ScalingCoefficients
from search_spaces.family_tables import MODES, Mode, exact_sizes, parse_phis
from trainer.complexity import count
from trainer.config import DataConfig, TrainConfig

START = Baseline.of("efficientnet-b0-small", num_classes=10, resolution=32, width="0.25")
BASES = ScalingCoefficients.of("1.2", "1.1", "1.15")
EPOCHS = 4
WORTH = {"compound": 0.03, "depth": 0.0, "width": 0.0, "resolution": 0.028}


def learn(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Accuracy grows with the logarithm of the cost, by mode, and differs by seed."""
    config = job.spec.config
    assert isinstance(config, TrainConfig)
    noise = random.Random(str(config.to_json())).gauss(0, 0.003)
    growth = 0.02 * math.log(count(config.model).macs / count(START.config).macs)
    best = 0.7 + growth + WORTH[str(job.spec.labels["mode"])] + noise
    for epoch in range(job.known_epochs + 1, (job.until or config.epochs) + 1):
        if should_stop():
            return
        top1 = best * epoch / config.epochs
        yield {"epoch": epoch, "top1": top1, "seconds": 2.0, "images_per_second": 500.0}


LEARNER: Objectives = {"train-model": learn}


def scale_plan(
    *, phis: str = "1,2", modes: Sequence[Mode] = MODES, seeds: int = 3, **changes: Any
) -> ScalePlan:
    """A family of a small baseline, three seeds."""
    recipe = TrainConfig(
        model=START.config, epochs=EPOCHS, data=DataConfig(evaluate_on="reporting")
    )
    sizes = exact_sizes(START, BASES, parse_phis(phis), modes)
    values: dict[str, Any] = {
        "question": {"asked": [phis, *modes, seeds]},
        "table": "exact",
        "start": START,
        "coefficients": BASES,
        "members": tuple(
            Member(size=size, train=recipe.with_(model=size.config)) for size in sizes
        ),
        "evidence": ReportingEvidence(
            fingerprint="f", train_images=1000, num_images=50_000, chance=0.1
        ),
        "seeds": tuple(range(seeds)),
    }
    return ScalePlan(**{**values, **changes})
