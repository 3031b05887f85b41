"""Where a run stands, asked from outside: its journal read, its lock looked at."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import asdict
from difflib import get_close_matches
from fcntl import LOCK_NB, LOCK_SH, flock
from pathlib import Path
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.history import read_history
from orchestrator.reporting.progress import progress_of, stages_of
from orchestrator.run_dir import RunDir


def status(run_dir: str | Path) -> dict[str, Any]:
    """Where a run stands, as the JSON document of `orchestrator status`.

    Raises:
        UsageError: it is no run directory, or cannot be read.
    """
    run = existing_run(run_dir)
    try:
        history = read_history(run.journal)
        holder = holder_of(run.lock)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
        raise UsageError(f"--run-dir {run_dir}: cannot be read: {reason}") from error
    stages = {stage: asdict(progress_of(history, stage)) for stage in stages_of(history)}
    if holder is None:  # what the journal says is running went down with its controller
        for counts in stages.values():
            counts["waiting"] += counts["running"]
            counts["running"] = 0
    return {
        "run_dir": str(run_dir),
        "controller": {"at_work": holder is not None, "holder": holder},
        "stages": stages,
    }


def existing_run(run_dir: str | Path) -> RunDir:
    """The run directory, if there is a run in it.

    Raises:
        UsageError: with the runs that lie near by.
    """
    run = RunDir(Path(run_dir))
    try:
        if run.journal.is_file():
            return run
        runs = _runs_near(run.root)
    except (OSError, ValueError) as error:  # ValueError: a path that no file system can hold
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--run-dir {run_dir}: cannot be read: {reason}") from error
    raise UsageError(f"--run-dir {run_dir}: not a run directory (no journal.jsonl).{_hint(runs)}")


def holder_of(lock: Path) -> str | None:
    """Who holds the lock now, or None."""
    try:
        file = lock.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    with file:
        holder = file.read().strip()
        if _is_gone(holder):
            return None
        try:
            # Only while that process lives: a controller that just starts must not be refused.
            flock(file, LOCK_SH | LOCK_NB)
        except BlockingIOError:
            return holder or "an unknown process"
    return None


def _is_gone(holder: str) -> bool:
    """Whether the process that last held the lock was on this machine and is no more."""
    match holder.split():
        case ["pid", pid, "on", host] if pid.isdigit() and host == socket.gethostname():
            try:
                os.kill(int(pid), 0)
            except (ProcessLookupError, OverflowError):
                return True
            except PermissionError:
                return False
    return False


def _runs_near(root: Path) -> list[str]:
    """Runs in the directory, beside it, or in `runs/`, with the likeliest first."""
    folders = [root, root.parent, Path("runs")]
    found = [str(p.parent) for folder in folders for p in sorted(folder.glob("*/journal.jsonl"))]
    unique = list(dict.fromkeys(found))
    return get_close_matches(str(root), unique, n=1, cutoff=0.5) or unique[-1:]


def _hint(runs: Sequence[str]) -> str:
    return f" Did you mean '{runs[0]}'?" if runs else " A search writes one: runs/<stage>-<time>."
