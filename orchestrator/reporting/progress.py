"""How far a stage is and how fast it goes, read from the history and its events."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator.history import History, Status, Trial
from orchestrator.journal import Event

Clock = Callable[[], float]
SCORE = "top1"
"""The metric that is the best when it is the largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The trials of a stage, counted; a trial that waits at a milestone is waiting."""

    complete: int
    running: int
    pruned: int
    failed: int
    waiting: int
    best: float | None
    """The best top-1 so far, a fraction, at whatever epoch a trial has reached."""
    best_trial: str | None
    """Its key."""

    @property
    def ended(self) -> int:
        """Trials to which nothing more happens."""
        return self.complete + self.pruned + self.failed


def progress_of(history: History, stage: str) -> Progress:
    """Count a stage's trials."""
    counts: Counter[Status] = Counter()
    best: float | None = None
    best_trial: str | None = None
    for trial in history.trials(stage):
        counts[trial.status] += 1
        score = trial.metric(SCORE)
        if score is not None and (best is None or score > best):
            best, best_trial = score, trial.key
    return Progress(
        complete=counts[Status.COMPLETE],
        running=counts[Status.RUNNING],
        pruned=counts[Status.PRUNED],
        failed=counts[Status.FAILED],
        waiting=counts[Status.WAITING] + counts[Status.PAUSED],
        best=best,
        best_trial=best_trial,
    )


def stages_of(history: History) -> list[str]:
    """The stages in the order in which they were asked or began."""
    return list(dict.fromkeys([*history.questions, *(trial.stage for trial in history.trials())]))


def planned_trials(history: History, stage: str) -> int:
    """Trials that the stage means to run, or those proposed if there are more."""
    planned: int = (history.questions.get(stage, {}).get("plan") or {}).get("trials", 0)
    return max(planned, sum(1 for _ in history.trials(stage)))


def describe(trial: Trial) -> str:
    """A trial in a few words: its name, or its coefficients, and its seed."""
    labels = trial.labels
    axes = (("α", "alpha"), ("β", "beta"), ("γ", "gamma"))
    point = ", ".join(f"{symbol} {labels[name]}" for symbol, name in axes if name in labels)
    words = str(labels.get("name") or point or f"trial {trial.number}")
    return f"{words}, seed {labels['seed']}" if "seed" in labels else words


class Pace:
    """How fast this session goes and may take; the clock starts with its first trial."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._epochs = 0
        self._horizons: dict[str, float] = {}
        self._speeds: dict[str, float] = {}

    def hear(self, event: Event) -> None:
        """Count an event."""
        match event:
            case {"event": "started"}:
                self._since = self._clock() if self._since is None else self._since
            case {"event": "report" | "beat" as kind, "key": key, "report": report}:
                self._epochs += kind == "report"
                self._speeds[key] = report.get("images_per_second") or 0.0
            case {"event": "paused" | "finished" | "failed" | "lost", "key": key}:
                self._speeds.pop(key, None)

    @property
    def images_per_second(self) -> float:
        """Of all running trials together."""
        return sum(self._speeds.values())

    def seconds_left(self, history: History, stage: str) -> float | None:
        """At most this long, were nobody dropped from now on; None before there is a pace."""
        if self._since is None or not self._epochs:
            return None
        trials = list(history.trials(stage))
        planned = planned_trials(history, stage)
        horizon = self._horizon(history, stage)
        begun = sum(max(0, horizon - trial.epochs) for trial in trials if not trial.status.ended)
        left = begun + max(0, planned - len(trials)) * horizon
        return left * (self._clock() - self._since) / self._epochs

    def _horizon(self, history: History, stage: str) -> float:
        """Epochs of a trial: one is decoded for all, unless they differ, as the plan then says."""
        if stage not in self._horizons:
            first = next(history.trials(stage)).proposal["config"].get("epochs")
            self._horizons[stage] = float(first or _planned_epochs(history, stage))
        return self._horizons[stage]


def _planned_epochs(history: History, stage: str) -> float:
    """Epochs of a trial, on the average of the plan."""
    plan = history.questions.get(stage, {}).get("plan") or {}
    epochs: float = plan.get("epochs", 1) / max(plan.get("trials", 1), 1)
    return epochs
