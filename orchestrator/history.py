"""What has happened so far: the journal folded into trials. All decisions are taken from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from sys import intern
from typing import Any

from orchestrator.journal import Event, read_events
from orchestrator.trial import Report


class Status(StrEnum):
    """Where a trial stands."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    """At a milestone, until the decision."""
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the trial."""
        return self in (Status.COMPLETE, Status.PRUNED, Status.FAILED)


@dataclass(slots=True, eq=False)
class Trial:
    """One trial as the journal tells it. Only `History` changes it."""

    key: str
    number: int
    stage: str
    record: bytes
    """The `proposed` line; decoded only when asked, so that ten thousand trials stay small."""
    status: Status = Status.WAITING
    attempt: int = 0
    """Times started, over all sessions."""
    losses: int = 0
    """Times its worker died under it."""
    reports: list[Report] = field(default_factory=list)
    decided: int = 0
    """The last milestone it was promoted from, in epochs."""
    error: str = ""
    traceback: str = ""
    seconds: float = 0.0
    started_at: float = 0.0

    @property
    def proposal(self) -> dict[str, Any]:
        """The specification as JSON; `orchestrator.loading.decode_spec` makes the value of it."""
        proposal: dict[str, Any] = json.loads(self.record)
        return proposal

    @property
    def labels(self) -> dict[str, Any]:
        """The trial's labels."""
        labels: dict[str, Any] = self.proposal["labels"]
        return labels

    @property
    def epochs(self) -> int:
        """Epochs reported."""
        return self.reports[-1]["epoch"] if self.reports else 0

    def metric(self, name: str, *, epoch: int | None = None) -> float | None:
        """A metric's value at an epoch (default: the last), or None where there is none."""
        for report in reversed(self.reports):
            if epoch is None or report["epoch"] == epoch:
                value = report.get(name)
                return None if value is None else float(value)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Who goes on from a milestone; journaled before it is acted on."""

    stage: str
    epoch: int
    promoted: tuple[str, ...]
    stopped: tuple[str, ...]
    report: Mapping[str, Any] = field(default_factory=dict)
    """The order at the rung and whether it was still moving."""

    def to_event(self) -> Event:
        """The decision as a journal event."""
        return {
            "event": "decision",
            "stage": self.stage,
            "epoch": self.epoch,
            "promoted": list(self.promoted),
            "stopped": list(self.stopped),
            "report": dict(self.report),
        }


class History:
    """The fold over a journal's events. Searchers and results read it; only events change it."""

    def __init__(self) -> None:
        self._trials: dict[str, Trial] = {}
        self._decisions: list[Decision] = []
        self.questions: dict[str, Event] = {}
        """The last `stage` event of each stage."""
        self.sessions = 0
        self.next_number = 0
        """Of the trial that is proposed next; not the count, where a proposal was damaged."""

    def __contains__(self, key: str) -> bool:
        return key in self._trials

    def __getitem__(self, key: str) -> Trial:
        return self._trials[key]

    def __len__(self) -> int:
        return len(self._trials)

    def get(self, key: str) -> Trial | None:
        """The trial of that key, if it was ever proposed."""
        return self._trials.get(key)

    def trials(self, stage: str | None = None) -> Iterator[Trial]:
        """The trials in the order they were proposed."""
        return (t for t in self._trials.values() if stage is None or t.stage == stage)

    def decisions(self, stage: str) -> list[Decision]:
        """The stage's decisions in the order they were taken."""
        return [decision for decision in self._decisions if decision.stage == stage]

    def apply(self, event: Event, line: bytes = b"") -> None:
        """Fold one event in. Unknown events are for other readers.

        Any line may be missing because it was damaged: its trial then waits for another attempt in
        the next session, whose checkpoint says again what the journal lacks.
        """
        match event:
            case {"event": "session"}:
                self._new_session()
            case {"event": "stage", "stage": str(stage)}:
                self.questions[stage] = event
            case {"event": "proposed", "key": str(key)}:
                if key not in self._trials:
                    self._trials[key] = self._newcomer(key, event, line)
            case {"event": "decision"}:
                self._decide(event)
            case {"event": str(kind), "key": str(key)} if key in self._trials:
                self._advance(self._trials[key], kind, event)

    def _new_session(self) -> None:
        """Whatever ran under the session before went down with it."""
        self.sessions += 1
        for trial in self._trials.values():
            if _cut_at_gap(trial) or trial.status is Status.RUNNING:
                self._wait(trial)

    def _newcomer(self, key: str, event: Event, line: bytes) -> Trial:
        """A trial; one whose first proposal was damaged may have been promoted before."""
        promoted = [d.epoch for d in self._decisions if key in d.promoted]
        decided = max(promoted, default=0)
        self.next_number = max(self.next_number, event["number"] + 1)
        return Trial(key, event["number"], event["stage"], line, decided=decided)

    def _decide(self, event: Event) -> None:
        decision = Decision(
            stage=event["stage"],
            epoch=event["epoch"],
            promoted=tuple(event["promoted"]),
            stopped=tuple(event["stopped"]),
            report=event["report"],
        )
        self._decisions.append(decision)
        for key in (*decision.promoted, *decision.stopped):
            if key in self._trials:
                _heed(self._trials[key], decision)

    def _advance(self, trial: Trial, kind: str, event: Event) -> None:
        if kind in ("paused", "finished", "failed") and trial.status is Status.RUNNING:
            trial.seconds += event["t"] - trial.started_at
        match kind:
            case "started":
                trial.status = Status.RUNNING
                trial.attempt = event["attempt"]
                trial.started_at = event["t"]
            case "report":
                if event["report"]["epoch"] > trial.epochs:  # a resumed one may say a thing twice
                    trial.reports.append(_small(event["report"]))
            case "paused":
                self._pause(trial, event["epoch"])
            case "lost":
                self._wait(trial)
                trial.losses += 1
            case "finished":
                whole = trial.epochs >= event.get("epochs", 0)
                trial.status = Status.COMPLETE if whole else Status.WAITING
            case "failed":
                trial.status = Status.FAILED
                trial.error, trial.traceback = event["error"], event.get("traceback", "")

    def _wait(self, trial: Trial) -> None:
        """Wait for another attempt, unless it was dropped while the last one was still running."""
        trial.status = Status.WAITING
        for decision in reversed(self.decisions(trial.stage)):
            if trial.key in (*decision.promoted, *decision.stopped):
                _heed(trial, decision)
                return

    def _pause(self, trial: Trial, epoch: int) -> None:
        """Wait for the decision; it has been taken where a damaged line sent the trial back."""
        trial.status = Status.PAUSED if trial.epochs >= epoch else Status.WAITING
        for decision in reversed(self.decisions(trial.stage)):
            if decision.epoch == epoch and trial.key in (*decision.promoted, *decision.stopped):
                _heed(trial, decision)
                return


def _cut_at_gap(trial: Trial) -> bool:
    """Forget what was reported beyond a damaged line; whether there was one."""
    if trial.epochs == len(trial.reports):
        return False
    expected = enumerate(trial.reports, start=1)
    trial.reports[:] = [report for epoch, report in expected if report["epoch"] == epoch]
    return trial.status is not Status.FAILED


def _heed(trial: Trial, decision: Decision) -> None:
    """Go on, or be pruned, as decided; a stopped trial still owes the reports it was judged by.

    One that runs heeds it at its pause: rungs are decided by reports, which come a moment earlier.
    """
    if trial.key in decision.promoted:
        trial.decided = max(trial.decided, decision.epoch)
        if trial.status in (Status.PAUSED, Status.PRUNED):  # a wider field may bring one back
            trial.status = Status.WAITING
    elif trial.status in (Status.WAITING, Status.PAUSED) and trial.epochs >= decision.epoch:
        trial.status = Status.PRUNED


def _small(report: Report) -> Report:
    """The report with the names that all reports share: unpickled or read, each brings its own."""
    return {intern(name): value for name, value in report.items()}


def read_history(journal: Path) -> History:
    """The history that a journal tells."""
    history = History()
    history_of(read_events(journal)[0], into=history)
    return history


def history_of(events: Iterable[tuple[Event, bytes]], *, into: History) -> None:
    """Fold events and their lines into a history."""
    for event, line in events:
        into.apply(event, line)
