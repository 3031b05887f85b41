"""What the controller asks of a place where trials run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from orchestrator.trial import Report, TrialSpec

KeepCheckpoints: TypeAlias = Literal["best-and-last", "all", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Where a trial finds its data and leaves its files; the same for every trial of a stage."""

    run_root: Path
    cache_root: Path
    checkpoint_seconds: float = 10.0
    """At most one periodic checkpoint in this time; milestones and ends always write one."""
    keep_checkpoints: KeepCheckpoints = "best-and-last"
    skip_unreadable: bool = False
    cache_limit: int = 20 * 2**30
    """Bytes of pixels of one data set that are kept decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One attempt at a trial, or at the part of it up to its next milestone."""

    spec: TrialSpec
    attempt: int
    until: int | None = None
    """Epoch after which to pause; None runs to the end."""
    known_epochs: int = 0
    """Epochs that the journal has: what a checkpoint knows beyond them is reported again first."""
    workspace: Workspace


Objective: TypeAlias = Callable[[Job, Callable[[], bool]], Iterator[Report]]
"""What one trial does: a generator of reports that asks, at least every batch, whether to stop.
A report without an `epoch` is a sign of life."""
Objectives: TypeAlias = Mapping[str, Objective]


@dataclass(frozen=True, slots=True)
class Reported:
    """An epoch's report."""

    key: str
    attempt: int
    report: Report


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life between reports."""

    key: str
    attempt: int
    report: Report


@dataclass(frozen=True, slots=True)
class Ended:
    """The generator ended by itself: at its milestone, or at the end of the trial."""

    key: str
    attempt: int
    stopped: bool = False
    """It ended because it was asked to stop."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An exception inside the trial: that is its result."""

    key: str
    attempt: int
    error: str
    traceback: str
    environment: bool = False
    """The machine's fault (a full disk), not the trial's: the run ends and can be resumed."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The worker died or went silent: the trial can go on in another."""

    key: str
    attempt: int
    reason: str


Message: TypeAlias = Reported | Beat | Ended | Failed | Lost


class Runner(Protocol):
    """Runs jobs. `free` says how many more may be started now."""

    @property
    def free(self) -> int:
        """Jobs that may be started now."""
        ...

    def start(self, job: Job) -> None:
        """Begin a job; its messages come out of `wait`."""
        ...

    def wait(self, timeout: float) -> Sequence[Message]:
        """What has happened since; blocks up to `timeout` seconds while nothing has."""
        ...

    def stop(self, key: str) -> None:
        """Ask a trial to stop; it says `Ended(stopped=True)` within a batch, or is `Lost`."""
        ...

    def close(self) -> None:
        """End every worker; returns when none is left."""
        ...
