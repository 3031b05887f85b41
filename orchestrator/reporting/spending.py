"""What a run has cost so far, read from its journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.history import History, Trial
from orchestrator.journal import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Work that was done; `epochs` and `training_hours` count what was repeated only once."""

    trials: int
    by_status: dict[str, int]
    epochs: int
    training_hours: float
    """Of all trials together: training and evaluation."""
    gpu_hours: float
    wall_hours: float
    """In which trials were under way."""
    sessions: int
    losses: int
    """Workers that died under a trial."""


def spent_on(history: History, events: Iterable[Event], stage: str) -> Spent:
    """The cost of a stage; the wall time and the sessions are those of the whole run."""
    trials = list(history.trials(stage))
    seconds = {trial.key: _seconds(trial) for trial in trials}
    return Spent(
        trials=len(trials),
        by_status=dict(Counter(str(trial.status) for trial in trials)),
        epochs=sum(len(trial.reports) for trial in trials),
        training_hours=sum(seconds.values()) / 3600,
        gpu_hours=sum(seconds[trial.key] * _gpus(trial) for trial in trials) / 3600,
        wall_hours=_wall_seconds(events) / 3600,
        sessions=history.sessions,
        losses=sum(trial.losses for trial in trials),
    )


def _seconds(trial: Trial) -> float:
    return sum(float(report.get("seconds") or 0) for report in trial.reports)


def _gpus(trial: Trial) -> float:
    return float(sum(bundle["gpus"] for bundle in trial.proposal["resources"]))


def _wall_seconds(events: Iterable[Event]) -> float:
    """From the first to the last thing that a session did; the time between sessions is nobody's.

    The beginning of a session is not one of them: trials that were run elsewhere are older than it.
    """
    sessions: list[list[float]] = [[]]
    for event in events:
        if event["event"] == "session":
            sessions.append([])
        else:
            sessions[-1].append(event["t"])
    return sum(max(times) - min(times) for times in sessions if times)
