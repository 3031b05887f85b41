"""Faults inside the worker processes."""

from __future__ import annotations

import signal
from typing import Any

from orchestrator.history import read_history
from tests.integration.faults.evidence import Outcome, Whole, judge, table
from tests.integration.faults.runs import Place, Session
from tests.integration.faults.sabotage import KEY, KIND, SILENCE


def killed(place: Place, whole: Whole) -> Outcome:
    """SIGKILL to a worker in the middle of its trial."""
    session = Session(place)
    session.until_reports(3)
    worker = session.members("ray::TrialWorker")[0]
    worker.send_signal(signal.SIGKILL)
    code = session.end()
    lost = place.events("lost")
    again = [e["attempt"] for e in place.events("started") if lost and e["key"] == lost[0]["key"]]
    went_on = len(lost) == 1 and lost[0]["attempt"] + 1 in again
    return judge(
        "worker killed",
        done="SIGKILL to a worker process after three reports",
        happened=f"{len(lost)} trial went on as attempt {max(again, default=0)}, exit code {code}",
        place=place,
        whole=whole,
        sessions=[session],
        as_expected=code == 0 and went_on,
    )


def poisoned(place: Place, whole: Whole) -> Outcome:
    """A trial that kills every worker it is given."""
    return _sabotaged(
        place,
        whole,
        kind="poison",
        fault="poison trial",
        done="one trial kills its worker in the first batch, every time",
        error="its worker died 3 times",
    )


def diverged(place: Place, whole: Whole) -> Outcome:
    """A loss that is not finite."""
    return _sabotaged(
        place,
        whole,
        kind="diverge",
        fault="NaN loss",
        done="one trial trains with a learning rate of 1e30",
        error="TrainingDiverged",
    )


def out_of_memory(place: Place, whole: Whole) -> Outcome:
    """The kernel refuses memory to a worker."""
    return _sabotaged(
        place,
        whole,
        kind="memory",
        fault="worker out of memory",
        done="RLIMIT_AS 256 MiB above what one trial's worker has; it asks for 1 GiB",
        error="can't allocate memory",
    )


def _sabotaged(
    place: Place, whole: Whole, *, kind: str, fault: str, done: str, error: str
) -> Outcome:
    """One trial fails, all others are as ever, and the failed one ranks last."""
    session = Session(place, **{KIND: kind, KEY: whole.victim})
    code = session.end()
    last: dict[str, Any] = (table(place) or {"results": [{}]})["results"][-1]
    failed = [trial for trial in read_history(place.run.journal).trials() if trial.error]
    ranks_last = (last.get("key"), last.get("status")) == (whole.victim, "failed")
    return judge(
        fault,
        done=done,
        happened=f"{len(failed)} trial failed, at attempt {failed[0].attempt if failed else 0}: "
        f"“{failed[0].error[:60] if failed else ''}…”; "
        f"ranks {'last' if ranks_last else 'not last'}; exit code {code}",
        place=place,
        whole=whole,
        sessions=[session],
        as_expected=code == 0 and ranks_last and len(failed) == 1 and error in failed[0].error,
        spoiled={whole.victim},
    )


def hung(place: Place, whole: Whole) -> Outcome:
    """A trial that says nothing any more."""
    session = Session(place, **{KIND: "hang", KEY: whole.victim, SILENCE: "15"})
    code = session.end()
    lost = place.events("lost")
    silent = len(lost) == 1 and lost[0]["reason"].startswith("no sign of life")
    return judge(
        "hung trial",
        done="one trial sleeps for an hour in its second epoch; the pool waits 15 s (60 s usually)",
        happened=f"lost: “{lost[0]['reason'] if lost else ''}”, went on from its checkpoint; "
        f"exit code {code}",
        place=place,
        whole=whole,
        sessions=[session],
        as_expected=code == 0 and silent,
    )


def all_diverged(place: Place, whole: Whole) -> Outcome:
    """Nothing that could be ranked."""
    session = Session(place, "--set", "train.optim.lr=1e30")
    code = session.end()
    line = session.said[-1]
    failed = place.events("failed")
    named = line.startswith("error: no candidate came to an accuracy") and "loss became" in line
    return Outcome(
        fault="NaN loss everywhere",
        done="a learning rate of 1e30 for all",
        happened=f"{len(failed)} trials failed, exit code {code}: “{line[:60]}…”",
        lost=0,
        repeated=len(failed) - len({event["key"] for event in failed}),
        equal=True,
        orphans=tuple(session.orphans),
        leftovers=(),
        as_expected=code == 3 and named and "Traceback" not in "".join(session.said),
    )
