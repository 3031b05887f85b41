"""How fast a configuration trains here, from a few steps: for estimates, never for choices."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from time import perf_counter

import torch
from torch import Tensor

from trainer.complexity import count
from trainer.config import TrainConfig
from trainer.data.batches import Batch
from trainer.distillation import Teacher, may_be_kept, taught
from trainer.precision import memory_format
from trainer.seeding import isolated
from trainer.state import TrainingState

MOST_PIXELS = 8 * 224 * 224
"""In a probed batch, so that an answer comes within seconds on a CPU too."""
MOST_MACS = 10**11
"""In its forward pass, likewise: a pixel costs WRN-28-10 some 160 times as many as the small
EfficientNet-B0."""


def training_speed(
    config: TrainConfig, *, device: torch.device | str = "cpu", seconds: float = 2.0
) -> float:
    """Training images per second, the reading of data left out.

    The first step is not timed: it allocates, and on a GPU chooses kernels. Large images and
    costly networks are tried in smaller batches than they would be trained in. A teacher that has
    to look at each batch does so here; one whose answers will be kept costs nothing.
    """
    device = torch.device(device)
    timed = _timed(config, device=device, seconds=seconds)
    return next(isolated(timed, threads=config.execution.threads, device=device))


def _timed(
    config: TrainConfig, *, device: torch.device, seconds: float
) -> Generator[float, None, None]:
    state = TrainingState(config, device=device)
    batch = _noise(config, device)
    ask = _teaching(config, device)

    def step() -> None:
        state.step(ask(batch), lr=0.0).item()  # waits for the device

    step()
    started, steps = perf_counter(), 0
    while steps == 0 or perf_counter() - started < seconds:
        step()
        steps += 1
    yield steps * len(batch.images) / (perf_counter() - started)


def _teaching(config: TrainConfig, device: torch.device) -> Callable[[Batch], Batch]:
    """What gives a batch its teacher's answers, if there is a teacher, from weights by chance."""
    if config.distillation is None:
        return _as_it_is
    teacher = Teacher(config.distillation, None, execution=config.execution, device=device)
    ask = partial(taught, teacher=teacher)
    if not may_be_kept(config, num_images=config.data.train_images):
        return ask
    answers: list[Tensor | None] = []

    def remember(batch: Batch) -> Batch:
        if not answers:
            answers.append(ask(batch).teacher)
        return replace(batch, teacher=answers[0])

    return remember


def _as_it_is(batch: Batch) -> Batch:
    return batch


def probed_images(config: TrainConfig) -> int:
    """Images of a probed batch; batch norm needs two."""
    by_pixels = MOST_PIXELS // config.model.resolution**2
    by_macs = MOST_MACS // count(config.model).macs
    return max(2, min(config.batch_size, by_pixels, by_macs))


def _noise(config: TrainConfig, device: torch.device) -> Batch:
    side, images = config.model.resolution, probed_images(config)
    noise = torch.randn(images, 3, side, side, device=device)
    return Batch(
        images=noise.to(memory_format=memory_format(config.execution)),
        labels=torch.zeros(images, dtype=torch.int64, device=device),
    )
