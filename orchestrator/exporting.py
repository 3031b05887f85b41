"""Runs and models in the formats of other tools. What is exported stays what it is."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UsageError
from orchestrator.new_files import in_the_way, whole_file
from orchestrator.reporting.status import existing_run
from orchestrator.run_dir import RunDir
from orchestrator.trial_records import TrialRecord, trial_records
from trainer.errors import unknown_value

if TYPE_CHECKING:
    from orchestrator.models.exporting import ModelExport

Writer = Callable[[Sequence[TrialRecord], Path], None]
"""Writes the file under a name that does not exist yet."""


def export(source: str | Path, *, to: str, output: str | Path) -> int | ModelExport:
    """Copy the trials of a run, or the model in `source`, into a new file.

    Of a run the number of trials is returned, of a model how well the file agrees with it.

    Raises:
        UsageError: no run, or no model, there; `output` exists or lies nowhere.
        ConfigError: an unknown target, or one that cannot express the model.
        CheckpointError: the exported model would answer differently.
        NotReady: the file cannot be written.
    """
    if to in MODEL_TARGETS:
        from orchestrator.models.exporting import export_model  # loads torch

        return export_model(source, to=to, output=output)
    if to not in TARGETS:
        raise unknown_value("--to", to, (*TARGETS, *MODEL_TARGETS))
    records = trial_records(_run(source))
    path = _free(Path(output))
    with whole_file(path) as aside:
        TARGETS[to](records, aside)
    return len(records)


def _run(source: str | Path) -> RunDir:
    """The run that is meant. Raises: UsageError, with the targets that a model has."""
    try:
        return existing_run(source)
    except UsageError as error:
        why = str(error).removeprefix("--run-dir ")
    if (Path(source) / "recipe.json").is_file():
        why = f"{source}: a model, not a run; use --to {', '.join(MODEL_TARGETS)}"
    raise UsageError(why)


def _free(path: Path) -> Path:
    if path.exists() or path.is_symlink():
        raise UsageError(in_the_way(path))
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--output {path}: there is no folder '{path.absolute().parent}'")
    return path


def write_csv(records: Sequence[TrialRecord], path: Path) -> None:
    """A row a trial; a column for every parameter and metric that any trial has."""
    rows = [_csv_row(record) for record in records]
    header = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, header or ["number"], restval="")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8", newline="")


def _csv_row(record: TrialRecord) -> dict[str, Any]:
    return {
        "number": record.number,
        "key": record.key,
        "stage": record.stage,
        "status": str(record.status),
        **record.description,
        **record.params,
        "epochs": max(record.scores, default=0),
        **record.last,
        "attempts": record.attempts,
        "started": _iso(record.started),
        "ended": _iso(record.ended),
        "error": record.error,
    }


def _iso(time: float | None) -> str:
    return "" if time is None else datetime.fromtimestamp(time, UTC).isoformat()


def _write_optuna(records: Sequence[TrialRecord], path: Path) -> None:
    from orchestrator.optuna_study import write_studies  # half a second of imports

    write_studies(records, path)


TARGETS: dict[str, Writer] = {"optuna": _write_optuna, "csv": write_csv}
"""`--to` -> how a run is written."""

MODEL_TARGETS = ("onnx", "torch-export", "torchvision")
"""`--to` for models: the formats of `trainer.portable.exports`, known without loading torch."""
