"""The real objective, saved after every epoch, with something going wrong in one of its trials.

Worker processes import this file; what goes wrong, and where, they read in their environment.
"""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from orchestrator.objectives import table
from orchestrator.runners.base import Job
from orchestrator.trial import Report
from trainer.config import TrainConfig

KIND, KEY, SILENCE = "FAULT", "FAULT_KEY", "FAULT_SILENCE"
"""Environment variables: what goes wrong; in which trial; the pool's patience in seconds."""

Question = Callable[[], bool]


def train(job: Job, should_stop: Question) -> Iterator[Report]:
    """Train as ever, unless this is the trial with the fault."""
    job = replace(job, workspace=replace(job.workspace, checkpoint_seconds=0.0))
    if job.spec.key != os.environ.get(KEY):
        return table.train(job, should_stop)
    return SABOTAGE[os.environ[KIND]](job, should_stop)


def poison(job: Job, should_stop: Question) -> Iterator[Report]:
    """Kill the worker in the first batch, every time."""

    def deadly() -> bool:
        os.kill(os.getpid(), signal.SIGKILL)
        return should_stop()

    return table.train(job, deadly)


def hang(job: Job, should_stop: Question) -> Iterator[Report]:
    """Stop for good in the first batch after the first report, at the first attempt."""
    reported = False

    def stuck() -> bool:
        if reported and job.attempt == 1:
            time.sleep(3600)
        return should_stop()

    for report in table.train(job, stuck):
        yield report
        reported = True


def diverge(job: Job, should_stop: Question) -> Iterator[Report]:
    """Train with a learning rate that no network survives."""
    config = job.spec.config
    assert isinstance(config, TrainConfig)
    hot = config.with_(optim=config.optim.with_(lr=1e30))
    return table.train(replace(job, spec=replace(job.spec, config=hot)), should_stop)


def exhaust_memory(job: Job, should_stop: Question) -> Iterator[Report]:
    """Ask, in the first batch, for more memory than the process may have: a limit of the kernel."""

    def hungry() -> bool:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + 2**28
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        torch.empty(2**30, dtype=torch.uint8)
        return should_stop()

    return table.train(job, hungry)


SABOTAGE: dict[str, Callable[[Job, Question], Iterator[Report]]] = {
    "poison": poison,
    "hang": hang,
    "diverge": diverge,
    "memory": exhaust_memory,
}
