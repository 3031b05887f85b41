"""A stage carried out by the real controller, in this process."""

from __future__ import annotations

from pathlib import Path

from orchestrator.controller import Controller
from orchestrator.history import History, history_of
from orchestrator.interrupts import Interrupts
from orchestrator.journal import open_journal, read_events
from orchestrator.run_dir import RunDir
from orchestrator.runners.base import Objectives
from orchestrator.runners.inline import InlineRunner
from orchestrator.stages.base import Stage
from tests.factories import Watcher, workspace


def carried_out(root: Path, stage: Stage, objectives: Objectives) -> History:
    """To the end, or on from where the journal below `root` stands."""
    run_dir = RunDir(root / "run")
    with open_journal(run_dir) as (journal, _):
        history = History()
        history_of(read_events(run_dir.journal)[0], into=history)
        history_of(journal.append([{"event": "session", "pid": 1, "host": "h"}]), into=history)
        Controller(
            stage=stage,
            journal=journal,
            history=history,
            runner=InlineRunner(objectives),
            workspace=workspace(root),
            observer=Watcher(),
            interrupts=Interrupts(),
        ).run()
    return history
