"""What a disturbed run is held against: an undisturbed one, and its own journal."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from orchestrator.history import History, Status, read_history
from tests.integration.faults.runs import STAGE, Place, Session

TIMING = {
    "seconds",
    "images_per_second",
    "estimated_hours",
    "estimated_gpu_hours",
    "fastest_tie",  # the fastest as measured
}
"""Fields that differ between two runs of the same thing."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One row of the table."""

    fault: str
    done: str
    happened: str
    lost: int
    """Trials that had finished and are not, and trials of the undisturbed run that never ended."""
    repeated: int
    """Trials of which an epoch that the journal had was trained again."""
    equal: bool
    """Whether every table and learning curve is the undisturbed run's, to the last digit."""
    orphans: tuple[str, ...]
    leftovers: tuple[str, ...]
    """Files that were never finished."""
    as_expected: bool
    """Exit codes, messages, attempts: what this fault in particular should lead to."""

    @property
    def holds(self) -> bool:
        """Whether all is well."""
        clean = not self.lost and not self.repeated and not self.orphans and not self.leftovers
        return self.equal and self.as_expected and clean


@dataclass(frozen=True)
class Whole:
    """An undisturbed run."""

    place: Place

    @classmethod
    def in_place(cls, place: Place) -> Whole:
        """Run it."""
        session = Session(place)
        assert session.end() == 0, session.said
        assert not session.orphans, session.orphans
        return cls(place)

    @cached_property
    def table(self) -> Any:
        """Its result."""
        return table(self.place)

    @cached_property
    def curves(self) -> dict[str, Any]:
        """Its learning curves."""
        return curves(read_history(self.place.run.journal))

    @cached_property
    def victim(self) -> str:
        """The trial of the network that came out last: its fate changes nobody else's."""
        key: str = self.table["results"][-1]["key"]
        return key


def judge(
    fault: str,
    *,
    done: str,
    happened: str,
    place: Place,
    whole: Whole,
    sessions: Sequence[Session],
    as_expected: bool,
    spoiled: Collection[str] = (),
) -> Outcome:
    """The outcome after the last session; `spoiled` are the trials that could not be saved."""
    history = read_history(place.run.journal)
    found, expected = curves(history), whole.curves
    same = all(found.get(key) == expected[key] for key in expected if key not in spoiled)
    tables = _rows(table(place), spoiled) == _rows(whole.table, spoiled)
    return Outcome(
        fault=fault,
        done=done,
        happened=happened,
        lost=_lost(place, history, expected),
        repeated=_repeated(place),
        equal=same and tables,
        orphans=tuple(name for session in sessions for name in session.orphans),
        leftovers=leftovers(place),
        as_expected=as_expected,
    )


def table(place: Place) -> Any:
    """The result document without what was timed; None where the run came to none."""
    path = place.run.result(STAGE)
    return _untimed(json.loads(path.read_text())) if path.exists() else None


def curves(history: History) -> dict[str, Any]:
    """Key -> status and reports of every trial."""
    return {t.key: (t.status, _untimed(t.reports)) for t in history.trials()}


def leftovers(place: Place) -> tuple[str, ...]:
    """Files in the run directory that were never finished."""
    return tuple(path.name for path in place.run.root.rglob("*.tmp"))


def _rows(document: Any, spoiled: Collection[str]) -> Any:
    """All of it; or, where trials were spoiled, the rows of the others and who has won."""
    if not spoiled or document is None:
        return document
    rows = [row for row in document["results"] if row["key"] not in spoiled]
    return rows, document["winner"], document["family"]


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _untimed(item) for key, item in value.items() if key not in TIMING}
    return [_untimed(item) for item in value] if isinstance(value, list) else value


def _lost(place: Place, history: History, expected: Collection[str]) -> int:
    finished = {event["key"] for event in place.events("finished")}
    gone = {key for key in finished if history[key].status is not Status.COMPLETE}
    trials = (history.get(key) for key in expected)
    return len(gone) + sum(trial is None or not trial.status.ended for trial in trials)


def _repeated(place: Place) -> int:
    """An epoch that a checkpoint remembers took as long as before; one trained again did not."""
    took: dict[tuple[str, int], set[float]] = defaultdict(set)
    for event in place.events("report"):
        took[event["key"], event["report"]["epoch"]].add(event["report"]["seconds"])
    return len({key for (key, _), times in took.items() if len(times) > 1})
