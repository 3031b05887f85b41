"""How fast a network answers on the present device: for one image, and for many."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import nn

from orchestrator.ablation.speed_trials import BATCH, SpeedConfig
from orchestrator.runners.base import Job
from orchestrator.trial import Report, plain_report
from trainer.evaluate import predict
from trainer.models.build import build
from trainer.precision import memory_format
from trainer.seeding import isolated

WARM_UP = 3
"""Passes that are not timed: they allocate, and on a GPU choose kernels."""
FEWEST, MOST = 5, 50
"""Timed passes."""
SECONDS = 2.0
"""After which a measurement ends, once it has its fewest passes."""
LONGEST_PASS = 4.0
"""Of a batch; where more images would take longer, fewer are measured, and that is said."""


def measure_speed(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """A trial of one report, without any accuracy."""
    config = job.spec.config
    assert isinstance(config, SpeedConfig)
    started = perf_counter()
    found = inference_speed(config)
    yield plain_report({"epoch": 1, **found, "seconds": perf_counter() - started})


def inference_speed(config: SpeedConfig) -> dict[str, Any]:
    """Median latency of one image, and images per second in batches; and under what conditions."""
    device = torch.device(config.device)
    timed = _timed(config, device)
    return next(isolated(timed, threads=config.execution.threads, device=device))


def _timed(config: SpeedConfig, device: torch.device) -> Generator[dict[str, Any], None, None]:
    layout = memory_format(config.execution)
    network = build(config.model).to(device).to(memory_format=layout).eval()
    latency, passes = _median(network, config, device, images=1)
    batch = BATCH
    while batch > 1 and batch * latency > LONGEST_PASS:
        batch //= 2
    seconds, batches = _median(network, config, device, images=batch)
    yield {
        "latency_seconds": latency,
        "images_per_second": batch / seconds,
        "batch_size": batch,
        "passes": [passes, batches],
        "device": _name(device),
        "precision": config.execution.precision,
        "channels_last": config.execution.channels_last,
        "threads": config.execution.threads,
        "resolution": config.model.resolution,
    }


def _median(
    network: nn.Module, config: SpeedConfig, device: torch.device, *, images: int
) -> tuple[float, int]:
    """Seconds of a pass, and how many were timed."""
    side = config.model.resolution
    batch = torch.randn(images, 3, side, side, device=device).to(
        memory_format=memory_format(config.execution)
    )

    def one() -> float:
        started = perf_counter()
        predict(network, batch, execution=config.execution)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return perf_counter() - started

    for _ in range(WARM_UP):
        one()
    times = list[float]()
    while len(times) < FEWEST or (sum(times) < SECONDS and len(times) < MOST):
        times.append(one())
    return median(times), len(times)


def _name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _cpu_name()


def _cpu_name() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return "CPU"
