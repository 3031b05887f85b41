"""Networks whose accuracy at every test resolution is known, and small real ones in folders."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.objectives.resolution_trials import AdaptConfig, SweepConfig
from orchestrator.runners.base import Job, Objectives
from orchestrator.stages.fixres.plan import Evidence, FixResPlan, Network, SourceRun
from orchestrator.trial import Report
from tests.simulated_scale import START
from tests.trainer.factories import tiny_run
from tests.trainer.fixres.factories import network as trained
from trainer.config import TrainConfig
from trainer.data.splits import Splits
from trainer.fixres.config import FixResConfig
from trainer.portable.files import write_model
from trainer.portable.making import portable

SIDES = (48, 64, 80, 96, 112)
TRAINED_AT = 64
IMAGES = 4000
EPOCHS = 3
BONUS = {"none": 0.0, "parametric": 0.005, "statistics": 0.01, "finetune": 0.03}
BEST = 1.2
"""Test over train resolution at which an unadapted network is at its best."""


def truth(config: TrainConfig, resolution: int, adaptation: str) -> float:
    """The accuracy of a network in endless images."""
    side = config.model.resolution
    noise = random.Random(f"{side} {config.seed}").gauss(0, 0.004)
    off = math.log2(resolution / (BEST * side))
    return 0.7 + 0.02 * math.log2(side / 64) - 0.2 * off**2 + BONUS[adaptation] + noise


def _answers(accuracy: float, split: str, name: str) -> Report:
    """Right where an image is easy enough; one in five is a matter of luck."""
    images = np.random.default_rng(len(split)).random(IMAGES)
    luck = np.random.default_rng(sum(name.encode())).random(IMAGES)
    right = np.where(np.arange(IMAGES) % 5 == 0, luck, images) < accuracy
    return {
        "top1": float(right.mean()),
        "top5": 0.99,
        "loss": 1.0,
        "num_images": IMAGES,
        "correct": np.packbits(right).tobytes().hex(),
    }


def train(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Takes time that grows with the pixels."""
    config = job.spec.config
    assert isinstance(config, TrainConfig)
    for epoch in range(job.known_epochs + 1, config.epochs + 1):
        if should_stop():
            return
        yield {"epoch": epoch, "top1": 0.7, "seconds": config.model.resolution**2 / 100}


def sweep(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Says the truth, as far as so many images know it."""
    config = job.spec.config
    assert isinstance(config, SweepConfig)
    adaptation = config.adapted.adaptation if config.adapted else "none"
    for number, side in enumerate(config.resolutions, start=1):
        if number > job.known_epochs:
            accuracy = truth(config.source, side, adaptation)
            answers = _answers(accuracy, config.evaluate_on, f"{side}{adaptation}")
            speed = {"seconds": 1.0, "images_per_second": 1e6 / side**2, "enlarged": 0.0}
            yield {"epoch": number, "resolution": side, **answers, **speed}


def adapt(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """First the network as it came, then better."""
    config = job.spec.config
    assert isinstance(config, AdaptConfig)
    asked = config.adaptation
    for epoch in range(job.known_epochs, asked.num_reports):
        adaptation = asked.adaptation if epoch else "none"
        side = asked.test_resolution
        accuracy = truth(asked.source, side, adaptation)
        answers = _answers(accuracy, asked.evaluate_on, f"{side}{adaptation}")
        yield {"epoch": epoch + 1, **answers, "seconds": 2.0}


LEARNER: Objectives = {"train-model": train, "fixres-sweep": sweep, "fixres": adapt}


def simulated_network(
    name: str = "B1",
    *,
    seeds: Sequence[int] = (0, 1, 2),
    trained_at: int = TRAINED_AT,
    sides: Sequence[int] = SIDES,
    given: bool = True,
    **changes: Any,
) -> Network:
    """A network of a small baseline."""
    recipe = TrainConfig(model=START.config.with_(resolution=trained_at), epochs=EPOCHS)
    values: dict[str, Any] = {
        "name": name,
        "runs": tuple(
            SourceRun(train=recipe.with_(seed=seed), weights=f"{name}-{seed}" if given else None)
            for seed in seeds
        ),
        "resolutions": tuple(sides),
        "tuning": FixResConfig(source=recipe, test_resolution=trained_at, epochs=2),
    }
    return Network(**{**values, **changes})


def fixres_plan(*networks: Network, **changes: Any) -> FixResPlan:
    """All adaptations, chosen and judged on 4,000 images each."""
    values: dict[str, Any] = {
        "question": {"asked": [network.name for network in networks]},
        "networks": networks or (simulated_network(),),
        "adaptations": ("none", "parametric", "statistics", "finetune"),
        "evidence": Evidence(
            fingerprint="f",
            train_images=1000,
            selection_images=IMAGES,
            reporting_images=IMAGES,
            chance=0.1,
        ),
        "source": {"model": "here", "family": None},
    }
    return FixResPlan(**{**values, **changes})


def model_folder(folder: Path, splits: Splits, *, seed: int = 0, **changes: Any) -> TrainConfig:
    """A tiny network that looks trained on the digits, in a folder; returns how it was trained."""
    config = tiny_run(batch_size=16, seed=seed)
    model = portable(
        trained(config, splits),
        config,
        splits.train,
        name="tiny",
        scores={},
        origin={"trial": "0123"},
    )
    write_model(folder, replace(model, recipe=model.recipe.with_(**changes)))
    return config
