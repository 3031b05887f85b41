"""Tiny configurations, stages and runs for the tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.history import Decision, History
from orchestrator.runners.base import Job, Workspace
from orchestrator.trial import Report, TrialSpec, trial_key
from trainer.config import Strict


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskConfig(Strict):
    """What a toy trial does: sleeps, reports, and perhaps fails."""

    name: str
    epochs: int = 1
    seconds: float = 0.0
    fail_at: int = 0


def run_task(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Report `epochs` times; resumes after the epochs that are known."""
    config = job.spec.config
    assert isinstance(config, TaskConfig)
    for epoch in range(job.known_epochs + 1, (job.until or config.epochs) + 1):
        deadline = time.monotonic() + config.seconds
        while time.monotonic() < deadline:
            if should_stop():
                return
            time.sleep(0.002)
        if epoch == config.fail_at:
            raise ValueError(f"told to fail at {epoch}")
        yield {"epoch": epoch, "top1": epoch / 100}


TASKS = {"task": run_task}


def task(name: str, *, milestones: Sequence[int] = (), **fields: Any) -> TrialSpec:
    """A specification of a toy trial."""
    config = TaskConfig(name=name, **fields)
    return TrialSpec(
        key=trial_key("task", config, fingerprint="-"),
        stage="toy",
        objective="task",
        config=config,
        milestones=tuple(milestones),
    )


@dataclass(frozen=True)
class ListStage:
    """Proposes a list; at each milestone lets the trials with even numbers go on."""

    specs: tuple[TrialSpec, ...]
    name: str = "toy"
    question: dict[str, Any] = field(default_factory=dict)

    @property
    def cost(self) -> dict[str, Any]:
        """One trial each."""
        return {"trials": len(self.specs)}

    def propose(self, history: History, *, count: int, seed: int) -> Sequence[TrialSpec]:
        """All that are neither complete nor failed."""
        done = ("complete", "failed")
        return [s for s in self.specs if s.key not in history or history[s.key].status not in done]

    def decide(self, history: History) -> Decision | None:
        """Once all of the list wait at the same milestone."""
        paused = [t for t in history.trials(self.name) if t.status == "paused"]
        if len(paused) < len(self.specs):
            return None
        return Decision(
            stage=self.name,
            epoch=paused[0].epochs,
            promoted=tuple(t.key for t in paused if t.number % 2 == 0),
            stopped=tuple(t.key for t in paused if t.number % 2),
        )

    def reduce(self, history: History) -> dict[str, Any]:
        """The last top-1 of every trial."""
        return {t.key: t.metric("top1") for t in history.trials(self.name)}


class Watcher:
    """An observer that keeps what it was told."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def observe(self, history: History, event: dict[str, Any]) -> None:
        """Keep it."""
        self.events.append(event)


def workspace(root: Path) -> Workspace:
    """A workspace below a temporary folder."""
    return Workspace(run_root=root / "run", cache_root=root / "cache", checkpoint_seconds=0)
