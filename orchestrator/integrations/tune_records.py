"""What trials of a foreign scheduler came to, as journal events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from orchestrator.history import History, Status
from orchestrator.journal import Event
from orchestrator.trial import Report, TrialSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """A report, and when it came."""

    at: float
    """Seconds since 1970."""
    seconds: float
    """That it took."""
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A trial as its scheduler left it."""

    spec: TrialSpec
    reports: tuple[Reported, ...]
    error: str = ""

    @property
    def epochs(self) -> int:
        """Epochs reported."""
        return int(self.reports[-1].report["epoch"]) if self.reports else 0

    @property
    def complete(self) -> bool:
        """Whether it was trained to its end."""
        return not self.error and self.epochs >= horizon(self.spec)


def horizon(spec: TrialSpec) -> int:
    """Epochs of the whole trial."""
    return int(spec.config.to_json()["epochs"])


def events_of(outcomes: Sequence[Outcome], history: History) -> list[Event]:
    """The events that a journal with this history lacks, in the order in which they happened.

    Of several outcomes of the same work the longest counts.
    """
    longest: dict[str, Outcome] = {}
    for outcome in outcomes:
        known = longest.get(outcome.spec.key)
        if known is None or outcome.epochs > known.epochs:
            longest[outcome.spec.key] = outcome
    proposed: list[Event] = []
    happened: list[Event] = []
    number = len(history)
    for key, outcome in longest.items():
        if not _is_news(outcome, history):
            continue
        if key not in history:
            proposed.append({"event": "proposed", "number": number, **outcome.spec.to_json()})
            number += 1
        happened += _life(outcome, attempt=history[key].attempt + 1 if key in history else 1)
    happened.sort(key=lambda event: event.get("t", 0.0))  # stable: a trial's own order stays
    first = min((event["t"] for event in happened if "t" in event), default=None)
    when = {} if first is None else {"t": first}
    return [*({**event, **when} for event in proposed), *happened]


def _is_news(outcome: Outcome, history: History) -> bool:
    trial = history.get(outcome.spec.key)
    if trial is None:
        return True
    done = trial.status in (Status.COMPLETE, Status.FAILED)
    return not done and (outcome.complete or outcome.epochs > trial.epochs)


def _life(outcome: Outcome, *, attempt: int) -> Iterator[Event]:
    """From start to end; a trial that its scheduler did not let go on is a decision's."""
    key = outcome.spec.key
    said: Event = {"key": key, "attempt": attempt}
    if outcome.reports:
        first, last = outcome.reports[0], outcome.reports[-1].at
        yield {"event": "started", **said, "until": None, "t": first.at - first.seconds}
        for reported in outcome.reports:
            yield {"event": "report", **said, "report": reported.report, "t": reported.at}
        when: Event = {"t": last}
    else:
        when = {}
    if outcome.error:
        yield {"event": "failed", **said, "error": outcome.error, "traceback": "", **when}
    elif outcome.complete:
        yield {"event": "finished", **said, **when}
    elif outcome.reports:
        yield {"event": "paused", "key": key, "epoch": outcome.epochs, **when}
        yield {
            "event": "decision",
            "stage": outcome.spec.stage,
            "epoch": outcome.epochs,
            "promoted": [],
            "stopped": [key],
            "report": {"by": "Ray Tune"},
            **when,
        }
