"""How fast a configuration trains here, from a few steps: for estimates, never for choices."""

from __future__ import annotations

from collections.abc import Generator
from time import perf_counter

import torch

from trainer.config import TrainConfig
from trainer.data.batches import Batch
from trainer.precision import memory_format
from trainer.seeding import isolated
from trainer.state import TrainingState

MOST_PIXELS = 8 * 224 * 224
"""In a probed batch, so that an answer comes within seconds on a CPU too."""


def training_speed(
    config: TrainConfig, *, device: torch.device | str = "cpu", seconds: float = 2.0
) -> float:
    """Training images per second, the reading of data left out.

    The first step is not timed: it allocates, and on a GPU chooses kernels. Large images are tried
    in smaller batches than they would be trained in.
    """
    device = torch.device(device)
    timed = _timed(config, device=device, seconds=seconds)
    return next(isolated(timed, threads=config.execution.threads, device=device))


def _timed(
    config: TrainConfig, *, device: torch.device, seconds: float
) -> Generator[float, None, None]:
    state = TrainingState(config, device=device)
    batch = _noise(config, device)
    state.step(batch, lr=0.0).item()
    started, steps = perf_counter(), 0
    while steps == 0 or perf_counter() - started < seconds:
        state.step(batch, lr=0.0).item()  # waits for the device
        steps += 1
    yield steps * len(batch.images) / (perf_counter() - started)


def _noise(config: TrainConfig, device: torch.device) -> Batch:
    side = config.model.resolution
    count = max(2, min(config.batch_size, MOST_PIXELS // side**2))
    images = torch.randn(count, 3, side, side, device=device)
    return Batch(
        images=images.to(memory_format=memory_format(config.execution)),
        labels=torch.zeros(count, dtype=torch.int64, device=device),
    )
