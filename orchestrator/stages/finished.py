"""What a finished run hands on to the next stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.run_dir import RunDir


def finished(run_dir: str, command: str, *, option: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a run of the command was told, and its result.

    Raises: UsageError, naming the option, for what is no such run or has no result yet.
    """
    run, where = RunDir(Path(run_dir)), f"{option}: {run_dir}"
    description = _read(run.description)
    if description is None:
        raise UsageError(f"{where} is no run directory (no run.json); name a run of {command}")
    other = description.get("command")
    if other != command:
        raise UsageError(f"{where} belongs to '{other}'; name a run of {command}")
    result = _read(run.result(command))
    if result is None:
        raise UsageError(
            f"{where} has no result yet; finish it with: orchestrator {command} --run-dir {run_dir}"
        )
    return description, result


def damaged(run_dir: str, command: str, *, option: str) -> UsageError:
    """For a result that does not say what it should."""
    return UsageError(
        f"{option}: {run_dir} has a damaged result; write it anew with: "
        f"orchestrator {command} --run-dir {run_dir}"
    )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None
