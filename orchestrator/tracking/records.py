"""What a tracker is told: runs as values, alike for every tracker; and how a tracker may fail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from orchestrator.errors import OrchestratorError

Level: TypeAlias = Literal["study", "stage", "trial"]
RunStatus: TypeAlias = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


class TrackerDown(OrchestratorError):
    """The tracker cannot be reached, is overloaded or lets nobody in: worth another try later."""


class TrackerRefused(OrchestratorError):
    """The tracker takes everything but this record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One value of one metric."""

    name: str
    value: float
    step: int
    """Epochs finished; 0 for what belongs to no epoch."""
    milliseconds: int
    """When it was measured, since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One run as the tracker should show it; of its points, those that were not sent yet."""

    ref: str
    """Unique within the study, and the same at every replay: what a run is found again by."""
    level: Level
    parent: str | None
    """The `ref` of the run above."""
    name: str
    status: RunStatus
    started: int
    """Milliseconds since the epoch, as the journal tells it."""
    ended: int | None
    params: Mapping[str, str]
    """Never changed once they are sent."""
    tags: Mapping[str, str]
    points: tuple[Point, ...] = ()
    """In the order of their steps."""
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """A trained model as the tracker should keep it."""

    ref: str
    """Unique within the study, and the same at every replay."""
    run: str
    """The `ref` of the run that it came of."""
    name: str
    folder: Path
    """Where it lies; see `trainer.portable`."""
    register: str | None
    """The name under which the tracker's registry has it; None for none."""


class Tracker(Protocol):
    """Where runs are shown. Writing the same record twice leaves what writing it once leaves."""

    def write(self, record: RunRecord) -> int:
        """Make the tracker show this; return how many points it did not have.

        Raises:
            TrackerDown, TrackerRefused: it is not, or not wholly, written; write it again.
        """
        ...

    def write_model(self, record: ModelRecord) -> bool:
        """Make the tracker keep this; return whether it did not yet. The run is there already.

        Raises:
            TrackerDown, TrackerRefused: it is not, or not wholly, written; write it again.
        """
        ...
