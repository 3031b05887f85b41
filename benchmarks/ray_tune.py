"""The peer of the controller: Ray Tune driving the same trials on as many workers."""

from __future__ import annotations

import gc
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneRun:
    """What was seen of a run of Ray Tune."""

    began: float
    """When its first trial was started."""
    ends: list[float] = field(repr=False)
    """When its trials ended."""
    bytes_per_trial: float
    """Growth of the driver's memory from its tenth part of trials on."""

    @property
    def seconds_per_trial(self) -> float:
        """After the first tenth, in which workers start; of a few, all that they took."""
        if len(self.ends) < 10:
            return (self.ends[-1] - self.began) / len(self.ends)
        skipped = len(self.ends) // 10
        return (self.ends[-1] - self.ends[skipped]) / (len(self.ends) - 1 - skipped)


def tune(
    folder: Path,
    *,
    trials: int,
    workers: int,
    reuse_actors: bool,
    seconds: float = 0.0,
    budget_seconds: float | None = None,
) -> TuneRun:
    """Run so many trials that sleep and report once, or as many as the budget has time for."""
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1")
    import ray
    from ray import tune as ray_tune

    ray.init(
        address="local",
        num_cpus=workers,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    clock = _clock()

    def nap(config: dict[str, Any]) -> None:
        time.sleep(seconds)
        ray_tune.report({"top1": 0.5})

    try:
        ray_tune.Tuner(
            ray_tune.with_resources(nap, {"cpu": 1}),
            tune_config=ray_tune.TuneConfig(
                num_samples=trials, reuse_actors=reuse_actors, time_budget_s=budget_seconds
            ),
            run_config=ray_tune.RunConfig(storage_path=str(folder), verbose=0, callbacks=[clock]),
        ).fit()
    finally:
        ray.shutdown()
    return TuneRun(began=clock.began, ends=clock.ends, bytes_per_trial=_growth(clock.bytes))


def _growth(weights: list[int]) -> float:
    start = len(weights) // 10
    return (weights[-1] - weights[start]) / max(len(weights) - 1 - start, 1)


def _clock() -> Any:
    """A callback that notes when trials end; made here because its base is Ray's."""
    import psutil
    from ray.tune import Callback

    class Clock(Callback):
        def __init__(self) -> None:
            self.began = 0.0
            self.ends: list[float] = []
            self.bytes: list[int] = []

        def on_trial_start(self, *_: Any, **__: Any) -> None:
            self.began = self.began or perf_counter()

        def on_trial_complete(self, *_: Any, **__: Any) -> None:
            self.ends.append(perf_counter())
            if len(self.ends) % 100 == 0:
                gc.collect()
            self.bytes.append(psutil.Process().memory_info().rss)

    return Clock()
