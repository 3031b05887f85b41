"""Trials an hour: two of ours at a time, one thread each, against one with both threads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.data import unpacked
from benchmarks.driving import WORKERS, Clock, run, warm_workers
from benchmarks.first_loss import first_loss_ours, first_loss_plain
from benchmarks.harness import Row, in_fresh_process, in_turn, scratch
from benchmarks.plain_training import Work, seconds_per_plain_trial
from orchestrator.history import Decision, History
from orchestrator.objectives.table import OBJECTIVES
from orchestrator.trial import TrialSpec
from trainer.config import DataConfig, OptimConfig, TrainConfig
from trainer.models.baselines import baseline

RESOLUTION = 32
LOSS_TOLERANCE = 2e-5
PLAIN = "one trial, two threads, torchvision, ImageFolder + DataLoader(num_workers=2)"
BOUND = "the convolutions themselves: nothing is decoded, and two trials share two cores"


def measure(quick: bool) -> Iterator[Row]:
    """EfficientNet-B0 on CIFAR-10: an epoch over 4,000 images and an evaluation on 2,000."""
    with scratch() as folder:
        images = unpacked("cifar10", into=folder)
        work = Work(
            config=training(images, train_images=256 if quick else 4_000),
            images=images,
            cache=folder / "cache",
        )
        losses = [in_fresh_process(loss, work) for loss in (first_loss_ours, first_loss_plain)]
        rates = in_turn(
            {
                "ours": partial(_ours, work, trials=WORKERS if quick else 2 * WORKERS),
                "plain": partial(_plain, work, channels_last=False),
                "channels_last": partial(_plain, work, channels_last=True),
            },
            rounds=1 if quick else 3,
        )
    ours, plain, faster = (median(rates[name]) for name in ("ours", "plain", "channels_last"))
    yield _rate("trials-per-hour", ours, plain, peer_name=PLAIN, goal=3.5)
    yield _rate(
        "trials-per-hour-channels-last", ours, faster, peer_name=f"{PLAIN}, channels_last", goal=1.4
    )
    yield Row(
        name="first-loss-difference",
        ours=max(abs(losses[0] - losses[1]) / losses[1], 1e-9),
        peer=LOSS_TOLERANCE,
        peer_name="tolerance",
        unit="of the first loss, from the same weights and images, between the two",
        goal=1.0,
        beside={"our loss": losses[0], "theirs": losses[1]},
        bound="kernels that add in another order, layer after layer",
    )


def _rate(name: str, ours: float, peer: float, *, peer_name: str, goal: float) -> Row:
    return Row(
        name=name,
        ours=ours,
        peer=peer,
        peer_name=peer_name,
        unit="trials an hour",
        goal=goal,
        more_is_better=True,
        bound=BOUND,
    )


def training(images: Path, *, train_images: int, seed: int = 0) -> TrainConfig:
    """A trial: the published network on small images, with padded crops and flips."""
    return TrainConfig(
        model=baseline("efficientnet-b0", num_classes=10, resolution=RESOLUTION),
        data=DataConfig(dataset=str(images), train_images=train_images),
        optim=OptimConfig(lr=0.1),
        epochs=1,
        batch_size=128,
        seed=seed,
    )


@dataclass(frozen=True)
class Trainings:
    """A stage that trains these configurations."""

    configs: tuple[TrainConfig, ...]
    name: str = "trainings"
    question: dict[str, Any] = field(default_factory=dict)

    @property
    def cost(self) -> dict[str, Any]:
        """One epoch each."""
        return {"trials": len(self.configs), "epochs": len(self.configs)}

    def propose(self, history: History, *, count: int, seed: int) -> Sequence[TrialSpec]:
        """The next ones."""
        return [
            TrialSpec(key=f"training-{place}", stage=self.name, objective="train", config=config)
            for place, config in list(enumerate(self.configs))[len(history) :][:count]
        ]

    def decide(self, history: History) -> Decision | None:
        """Never."""
        return None

    def reduce(self, history: History) -> dict[str, Any]:
        """The accuracies."""
        return {trial.key: trial.metric("top1") for trial in history.trials()}


def _ours(work: Work, *, trials: int) -> float:
    with scratch() as folder:
        return in_fresh_process(ours_per_hour, folder, work, trials)


def ours_per_hour(folder: Path, work: Work, trials: int) -> float:
    """Rate of the controller with two workers, which have trained before and so are warm."""
    small = work.config.with_(data=DataConfig(dataset=str(work.images), train_images=256))
    clock = Clock()
    with warm_workers(folder / "logs", OBJECTIVES) as runner:
        start = partial(run, runner=runner, cache_root=work.cache)
        start(folder / "warming", Trainings(seeded(small, WORKERS)), clock=Clock())
        start(folder / "run", Trainings(seeded(work.config, trials)), clock=clock)
    assert len(clock.ends) == trials, "a trial failed"
    return 3600 * trials / (clock.ends[-1] - clock.began)


def seeded(config: TrainConfig, count: int) -> tuple[TrainConfig, ...]:
    """The configuration with one seed after the other."""
    return tuple(config.with_(seed=seed) for seed in range(count))


def _plain(work: Work, *, channels_last: bool) -> float:
    return 3600 / in_fresh_process(seconds_per_plain_trial, work, channels_last=channels_last)
