"""What a finished run hands on to the next stage."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.reporting.continuing import command_line
from orchestrator.run_dir import RunDir


def finished(run_dir: str, command: str, *, option: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a run of the command was told, and its result.

    Raises: UsageError, naming the option, for what is no such run or has no result yet.
    """
    run, where = RunDir(Path(run_dir)), f"{option}: {run_dir}"
    description = read_document(run.description)
    if description is None:
        raise UsageError(f"{where} is no run directory (no run.json); name a run of {command}")
    other = description.get("command")
    if other != command:
        raise UsageError(f"{where} belongs to '{other}'; name a run of {command}")
    result = read_document(run.result(command))
    if result is None:
        raise UsageError(
            f"{where} has no result yet; finish it with: {_same_again(description, run_dir)}"
        )
    return description, result


def damaged(run_dir: str, command: str, *, option: str) -> UsageError:
    """For a result that does not say what it should."""
    description = read_document(RunDir(Path(run_dir)).description) or {}
    again = _same_again({**description, "command": command}, run_dir)
    return UsageError(f"{option}: {run_dir} has a damaged result; write it anew with: {again}")


def _same_again(description: Mapping[str, Any], run_dir: str) -> str:
    """The run's own command line: without its options it would ask for something else."""
    if not isinstance(description.get("config"), dict):
        begun = shlex.join(["orchestrator", description["command"], "--run-dir", run_dir])
        return f"{begun} and the options that it was begun with"
    return shlex.join(command_line(description, run_dir))


def read_document(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is no such file or something else in it."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None
