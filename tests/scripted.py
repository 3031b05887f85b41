"""Objectives that do as they are told. Worker processes import this file."""

from __future__ import annotations

import ctypes
import logging
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.runners.base import Job, Objectives, Workspace
from orchestrator.trial import Bundle, Report, TrialSpec
from trainer.config import Strict
from trainer.errors import DiskFull


@dataclass(frozen=True, slots=True, kw_only=True)
class Script(Strict):
    """What a scripted trial does."""

    epochs: int = 2
    seconds: float = 0.0
    """Duration of an epoch."""
    batch_seconds: float = 0.01
    """How often it asks whether to stop."""
    beats: bool = False
    """Give a sign of life per batch."""
    end: str = "return"
    """What it does after the last epoch: a key of `ENDS`."""


def scripted(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """A trial whose top-1 after epoch n is n/10."""
    script = job.spec.config
    assert isinstance(script, Script)
    for epoch in range(1, script.epochs + 1):
        end = time.monotonic() + script.seconds
        while time.monotonic() < end:
            if should_stop():
                return
            time.sleep(script.batch_seconds)
            if script.beats:
                yield {"beat": epoch}
        yield {"epoch": epoch, "top1": epoch / 10}
    ENDS[script.end]()


def noop(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """One report, no work."""
    yield {"epoch": 1, "top1": 0.5}


def talkative(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Say something in every way but one."""
    print("printed")
    print("to stderr", file=sys.stderr)
    logging.getLogger("trainer").info("logged")
    yield {"epoch": 1}


def warning(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Warn, which pytest would catch in its own process."""
    warnings.warn("warned", stacklevel=1)
    yield {"epoch": 1}


def quiet_start(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Nothing for two seconds, as while data is decoded."""
    time.sleep(2)
    yield {"epoch": 1}


def slower_and_slower(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Batches of 0, 0.7 and 2.5 seconds."""
    for seconds in (0, 0.7, 2.5):
        time.sleep(seconds)
        yield {"beat": seconds}


def surroundings(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Report the process and what it sees."""
    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")
    yield {"epoch": 1, "pid": os.getpid(), **{name: os.environ.get(name) for name in names}}


def unpicklable(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """A report that cannot leave the process."""
    yield {"epoch": 1, "model": sys._getframe()}


def _raise_error() -> None:
    raise ValueError("a wrong\n  value")


def _exhaust_memory() -> None:
    raise MemoryError


def _fill_disk() -> None:
    raise DiskFull("last.pt: No space left on device")


def _fill_memory() -> None:
    taken = []
    for _ in range(4 * 1024):  # 4 GB
        taken.append(b"x" * 2**20)
        time.sleep(0.002)
    time.sleep(60)


def _deaf() -> None:
    time.sleep(3600)


def _stuck() -> None:
    re.match(r"(a+)+$", "a" * 40 + "b")  # in C, holding the interpreter's lock


ENDS: dict[str, Callable[[], object]] = {
    "return": lambda: None,
    "raise": _raise_error,
    "exit": lambda: sys.exit(3),
    "out-of-memory": _exhaust_memory,
    "fill-memory": _fill_memory,
    "fill-disk": _fill_disk,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crash": lambda: ctypes.string_at(0),
    "freeze": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "deaf": _deaf,
    "stuck": _stuck,
}

OBJECTIVES: Objectives = {
    "scripted": scripted,
    "noop": noop,
    "talkative": talkative,
    "warning": warning,
    "quiet-start": quiet_start,
    "slower-and-slower": slower_and_slower,
    "surroundings": surroundings,
    "unpicklable": unpicklable,
}


def scripted_job(
    root: Path,
    *,
    key: str = "trial",
    objective: str = "scripted",
    attempt: int = 1,
    script: Script = Script(),
    resources: tuple[Bundle, ...] = (Bundle(),),
) -> Job:
    """A job that runs one of `OBJECTIVES`."""
    spec = TrialSpec(
        key=key, stage="stage", objective=objective, config=script, resources=resources
    )
    return Job(
        spec=spec, attempt=attempt, workspace=Workspace(run_root=root, cache_root=root / "cache")
    )
