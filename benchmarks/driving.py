"""Our controller on the ray runner, driven through trials that do nothing or sleep."""

from __future__ import annotations

import gc
import os
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil

from orchestrator.controller import Controller
from orchestrator.history import Decision, History, history_of
from orchestrator.interrupts import Interrupts
from orchestrator.journal import Event, open_journal, read_events
from orchestrator.run_dir import RunDir
from orchestrator.runners.base import Job, Objectives, Runner, Workspace
from orchestrator.runners.inline import InlineRunner
from orchestrator.runners.ray_pool import RayRunner
from orchestrator.stages.base import Stage
from orchestrator.trial import Bundle, Report, TrialSpec, trial_key
from trainer.config import Strict

WORKERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Nap(Strict):
    """A trial that sleeps."""

    number: int
    seconds: float = 0.0


def nap(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Sleep, then report once."""
    config = job.spec.config
    assert isinstance(config, Nap)
    time.sleep(config.seconds)
    yield {"epoch": 1, "top1": 0.5}


NAPS: Objectives = {"nap": nap}


@dataclass(frozen=True)
class Naps:
    """A stage of so many trials, each proposed once, in time that no history makes longer."""

    count: int
    seconds: float = 0.0
    name: str = "naps"
    question: dict[str, Any] = field(default_factory=dict)

    @property
    def cost(self) -> dict[str, Any]:
        """One epoch each."""
        return {"trials": self.count, "epochs": self.count}

    def propose(self, history: History, *, count: int, seed: int) -> Sequence[TrialSpec]:
        """The next ones."""
        start = len(history)
        return [self.spec(number) for number in range(start, min(start + count, self.count))]

    def decide(self, history: History) -> Decision | None:
        """Never."""
        return None

    def reduce(self, history: History) -> dict[str, Any]:
        """Nothing."""
        return {}

    def spec(self, number: int) -> TrialSpec:
        """The trial of that number."""
        config = Nap(number=number, seconds=self.seconds)
        return TrialSpec(
            key=trial_key("nap", config, fingerprint="-"),
            stage=self.name,
            objective="nap",
            config=config,
        )


class Clock:
    """An observer that notes when trials end, and what memory the process has by then."""

    def __init__(self, *, weigh_every: int = 0) -> None:
        self.began = 0.0
        """When the first trial was started."""
        self.ends = array("d")
        self.bytes: list[int] = []
        self._weigh_every = weigh_every

    def observe(self, history: History, event: Event) -> None:
        """Note the time."""
        if event["event"] == "started" and not self.began:
            self.began = perf_counter()
        if event["event"] == "finished":
            self.ends.append(perf_counter())
            if self._weigh_every and len(self.ends) % self._weigh_every == 0:
                gc.collect()
                self.bytes.append(psutil.Process().memory_info().rss)


@contextmanager
def warm_workers(log_dir: Path, objectives: Objectives = NAPS) -> Iterator[RayRunner]:
    """Two workers that have answered: their start is no cost of a trial."""
    runner = RayRunner(objectives, workers=WORKERS, bundle=Bundle(), address=None, log_dir=log_dir)
    try:
        while runner.free < WORKERS:
            runner.wait(1.0)
        yield runner
    finally:
        runner.close()


def drive(root: Path, stage: Naps, *, weigh_every: int = 0) -> Clock:
    """Bring naps to their end on two warm workers."""
    clock = Clock(weigh_every=weigh_every)
    with warm_workers(root / "logs") as runner:
        run(root, stage, runner, clock=clock)
    return clock


def restart(root: Path, stage: Naps) -> float:
    """Seconds until a controller that was started again knows that nothing is left to do."""
    started = perf_counter()
    run(root, stage, InlineRunner(NAPS), clock=Clock())
    return perf_counter() - started


def run(
    root: Path, stage: Stage, runner: Runner, *, clock: Clock, cache_root: Path | None = None
) -> None:
    """Begin or continue the stage in the run directory `root`."""
    run_dir = RunDir(root)
    with open_journal(run_dir) as (journal, _):
        history = History()
        history_of(read_events(run_dir.journal)[0], into=history)
        history_of(journal.append([{"event": "session", "pid": os.getpid()}]), into=history)
        Controller(
            stage=stage,
            journal=journal,
            history=history,
            runner=runner,
            workspace=Workspace(run_root=root, cache_root=cache_root or root / "cache"),
            observer=clock,
            interrupts=Interrupts(),
        ).run()
