"""Run directories as a controller leaves them, written with the real journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.journal import Event, Journal, open_journal
from orchestrator.run_dir import RunDir, write_json

STAGE = "search-scaling"
QUESTION = {"dataset": "digits", "budget": {"ratio": 2.0, "kind": "counted"}, "grid": [1, 1.1]}


def described_run(root: Path) -> RunDir:
    """A run directory with its `run.json`."""
    run_dir = RunDir(root)
    document = {
        "command": "search-scaling",
        "git_sha": "0123abcd",
        "packages": {"torch": "2.11"},
        "host": {"name": "node-1"},
        "config": {"dataset": "digits"},
    }
    write_json(run_dir.description, document)
    return run_dir


def asked(question: Mapping[str, Any] = QUESTION) -> list[Event]:
    """A controller begins and asks."""
    session = {"event": "session", "pid": 1, "host": "node-1", "versions": {}}
    return [
        session,
        {"event": "stage", "stage": STAGE, "question": question, "plan": {"trials": 3}},
    ]


def proposed(number: int) -> Event:
    """Trial `number`, whose key is `trial-<number>`."""
    labels = {"alpha": 1.1, "beta": 1.0, "gamma": 1.2, "macs": 1000 + number, "macs_ratio": 2.0}
    return {
        "event": "proposed",
        "number": number,
        "key": f"trial-{number}",
        "stage": STAGE,
        "objective": "train",
        "config": {"model": {"resolution": 32, "stages": [{"kernel": 3}]}, "seed": number},
        "labels": labels,
        "milestones": [],
        "resources": [{"cpus": 1, "gpus": 0.0}],
    }


def started(number: int, *, attempt: int = 1) -> Event:
    """It gets a worker."""
    return {"event": "started", "key": f"trial-{number}", "attempt": attempt, "until": None}


def report(number: int, epoch: int, *, attempt: int = 1) -> Event:
    """It finished an epoch; a fraction, a number that is missing, and a list."""
    values = {"epoch": epoch, "top1": epoch / 10, "loss": None, "lr": 0.1, "recall": [0.5, 0.7]}
    return {"event": "report", "key": f"trial-{number}", "attempt": attempt, "report": values}


def finished(number: int) -> Event:
    """It is done."""
    return {"event": "finished", "key": f"trial-{number}", "attempt": 1, "seconds": 1.0}


def failed(number: int) -> Event:
    """It raised."""
    error = {"error": "ValueError: no", "traceback": "Traceback: here"}
    return {"event": "failed", "key": f"trial-{number}", "attempt": 1, **error}


def paused(number: int, *, epoch: int) -> Event:
    """It waits at a milestone for the decision."""
    return {"event": "paused", "key": f"trial-{number}", "epoch": epoch}


def stopped(number: int, *, epoch: int) -> Event:
    """It does not go on from a milestone."""
    key = f"trial-{number}"
    return {
        "event": "decision",
        "stage": STAGE,
        "epoch": epoch,
        "promoted": [],
        "stopped": [key],
        "report": {},
    }


def whole_trial(number: int, *, epochs: int = 3) -> list[Event]:
    """From proposal to end."""
    reports = [report(number, epoch) for epoch in range(1, epochs + 1)]
    return [proposed(number), started(number), *reports, finished(number)]


def conclude(journal: Journal, run_dir: RunDir) -> None:
    """Write the result, then say so."""
    row = {"alpha": 1.1, "gamma": 1.2, "channels": [16, 24], "mean": 0.9, "interval": [0.8, 0.95]}
    write_json(
        run_dir.result(STAGE),
        {"stage": STAGE, "candidates": [row], "family": [{"phi": 1}, {"phi": 2}], "winner": row},
    )
    journal.append([{"event": "concluded", "stage": STAGE}])


def write_run(root: Path, trials: Sequence[Iterable[Event]]) -> RunDir:
    """A finished run of these trials, one batch of events each."""
    run_dir = described_run(root)
    with open_journal(run_dir) as (journal, _):
        journal.append(asked())
        for events in trials:
            journal.append(list(events))
        conclude(journal, run_dir)
    return run_dir
