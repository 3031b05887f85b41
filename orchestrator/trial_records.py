"""The trials of a run as rows for other tools, which know nothing of journals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from orchestrator.history import History, Status, Trial, history_of
from orchestrator.journal import Event, read_events
from orchestrator.reporting.progress import SCORE
from orchestrator.run_dir import RunDir
from orchestrator.trial import Scalar

DESCRIPTIVE = frozenset({"name", "macs", "macs_ratio", "params", "resolution"})
"""Labels that follow from what a trial tried; all others are what it tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One trial with all that a foreign format may want of it."""

    number: int
    key: str
    stage: str
    status: Status
    params: Mapping[str, Scalar]
    """What was tried: the labels that are no descriptions."""
    description: Mapping[str, Scalar]
    scores: Mapping[int, float | None]
    """Epoch -> top-1, a fraction; None where it was no number."""
    last: Mapping[str, Scalar]
    """The last report's numbers."""
    started: float | None
    """Seconds since 1970, of the first attempt."""
    ended: float | None
    attempts: int
    error: str

    @property
    def score(self) -> float | None:
        """The last top-1."""
        return self.scores[max(self.scores)] if self.scores else None


def trial_records(run_dir: RunDir) -> list[TrialRecord]:
    """The trials of a run in the order in which they were proposed."""
    pairs, _ = read_events(run_dir.journal)
    history = History()
    history_of(pairs, into=history)
    started, ended = _times(event for event, _ in pairs)
    return [
        _record(trial, started.get(trial.key), ended.get(trial.key)) for trial in history.trials()
    ]


def _record(trial: Trial, started: float | None, ended: float | None) -> TrialRecord:
    labels = trial.labels
    last = trial.reports[-1] if trial.reports else {}
    return TrialRecord(
        number=trial.number,
        key=trial.key,
        stage=trial.stage,
        status=trial.status,
        params={name: value for name, value in labels.items() if name not in DESCRIPTIVE},
        description={name: value for name, value in labels.items() if name in DESCRIPTIVE},
        scores={report["epoch"]: report.get(SCORE) for report in trial.reports},
        last={
            name: value
            for name, value in last.items()
            if isinstance(value, int | float) and name != "epoch"
        },
        started=started,
        ended=ended if trial.status.ended else None,
        attempts=trial.attempt,
        error=trial.error,
    )


def _times(events: Iterable[Event]) -> tuple[dict[str, float], dict[str, float]]:
    """When each trial was first started, and when the last thing happened to it."""
    started: dict[str, float] = {}
    ended: dict[str, float] = {}
    for event in events:
        match event:
            case {"event": "started", "key": key, "t": t}:
                started.setdefault(key, t)
            case {"event": "finished" | "failed", "key": key, "t": t}:
                ended[key] = t
            case {"event": "decision", "stopped": keys, "t": t}:
                ended.update(dict.fromkeys(keys, t))
    return started, ended
