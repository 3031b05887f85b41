"""How fast networks answer on the present device: for one image, and for many."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from orchestrator.ablation.speed_trials import BATCH, SpeedConfig, TimedNetwork
from orchestrator.runners.base import Job
from orchestrator.trial import Report, plain_report
from trainer.evaluate import predict
from trainer.models.build import build
from trainer.precision import memory_format
from trainer.pulse import Pulse
from trainer.seeding import isolated

WARM_UP = 3
"""Passes that are not timed: they allocate, and on a GPU choose kernels."""
ROUNDS = 5
"""In which all networks take turns: what disturbs the machine for a while disturbs them all."""
SECONDS = 0.4
"""After which the turn of a network ends."""
MOST = 10
"""Passes in a turn; one at least."""
LONGEST_PASS = 4.0
"""Of a batch; where more images would take longer, fewer are measured, and that is said."""
BEAT_SECONDS = 5.0


def measure_speed(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """A trial of one report, without any accuracy; signs of life before."""
    config = job.spec.config
    assert isinstance(config, SpeedConfig)
    started, pulse = perf_counter(), Pulse(BEAT_SECONDS)
    turns = len(config.networks) * (ROUNDS + 1)
    for turn, found in enumerate(inference_speeds(config), start=1):
        if should_stop():
            return
        if found is not None:
            yield plain_report({"epoch": 1, **found, "seconds": perf_counter() - started})
            continue
        for beat in pulse.beats(1, turn, turns, 0.0):
            values = beat.to_json()
            yield plain_report({"training": values.pop("epoch"), **values})


def inference_speeds(config: SpeedConfig) -> Iterator[dict[str, Any] | None]:
    """None after every turn, and in the end what was found and under what conditions.

    `networks` has for each of them the median `latency_seconds` of one image and
    `images_per_second` in batches of `batch_size`, each with the range of the middle half of the
    passes. `cpu_share` is how much of its threads' time the process was given.
    """
    device = torch.device(config.device)
    return isolated(_timed(config, device), threads=config.threads, device=device)


def _timed(
    config: SpeedConfig, device: torch.device
) -> Generator[dict[str, Any] | None, None, None]:
    networks = [_Timed(each, device) for each in config.networks]
    for network in networks:
        network.warm_up()
        yield None
    wall = busy = 0.0
    for _ in range(ROUNDS):
        for network in networks:
            started, used = perf_counter(), process_time()
            network.take_turn()
            wall += perf_counter() - started
            busy += process_time() - used
            yield None
    yield {
        "networks": [network.found() for network in networks],
        "device": _name(device),
        "threads": config.threads,
        "rounds": ROUNDS,
        "cpu_share": busy / (wall * config.threads) if device.type == "cpu" else None,
    }


class _Timed:
    """A network, and how long its passes took."""

    def __init__(self, config: TimedNetwork, device: torch.device) -> None:
        self._config = config
        self._device = device
        layout = memory_format(config.execution)
        self._network = build(config.model).to(device).to(memory_format=layout).eval()
        self._batch = BATCH
        self._passes: dict[int, list[float]] = {}

    def warm_up(self) -> None:
        """Choose how many images make a batch that is over in time."""
        latency = min(self._pass(1) for _ in range(WARM_UP))
        while self._batch > 1 and self._batch * latency > LONGEST_PASS:
            self._batch //= 2
        for _ in range(WARM_UP):
            self._pass(self._batch)

    def take_turn(self) -> None:
        """Some passes of one image, and some of a batch."""
        for images in (1, self._batch):
            times: list[float] = []
            while not times or (sum(times) < SECONDS and len(times) < MOST):
                times.append(self._pass(images))
            self._passes.setdefault(images, []).extend(times)

    def found(self) -> dict[str, Any]:
        """Medians, and what the middle half of the passes lie within."""
        model, execution = self._config.model, self._config.execution
        single, batches = self._passes[1], self._passes[self._batch]
        low, latency, high = _quartiles(single)
        fast, usual, slow = (self._batch / seconds for seconds in _quartiles(batches))
        return {
            "latency_seconds": latency,
            "latency_range": [low, high],
            "images_per_second": usual,
            "images_per_second_range": [slow, fast],
            "batch_size": self._batch,
            "passes": [len(single), len(batches)],
            "precision": execution.precision,
            "channels_last": execution.channels_last,
            "resolution": model.resolution,
        }

    def _pass(self, images: int) -> float:
        """Seconds."""
        layout = memory_format(self._config.execution)
        side = self._config.model.resolution
        batch = _images(images, side, self._device).contiguous(memory_format=layout)
        started = perf_counter()
        predict(self._network, batch, execution=self._config.execution)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return perf_counter() - started


@lru_cache(maxsize=4)
def _images(count: int, side: int, device: torch.device) -> Tensor:
    """Random ones: what they show is no matter either."""
    return torch.randn(count, 3, side, side, device=device)


def _quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)


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
