"""Runs and models in the formats of other tools. What is exported stays what it is."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import NotReady, UsageError
from orchestrator.history import History, Status, Trial, history_of
from orchestrator.journal import Event, read_events
from orchestrator.reporting.progress import SCORE
from orchestrator.reporting.status import existing_run
from orchestrator.run_dir import RunDir
from orchestrator.trial import Scalar
from trainer.errors import unknown_value

if TYPE_CHECKING:
    from orchestrator.models.exporting import ModelExport

DESCRIPTIVE = frozenset({"name", "macs", "macs_ratio", "params", "resolution"})
"""Labels that follow from what a trial tried; all others are what it tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One trial with all that a foreign format may want of it."""

    number: int
    key: str
    stage: str
    status: Status
    params: Mapping[str, Scalar]
    """What was tried: the labels that are no descriptions."""
    description: Mapping[str, Scalar]
    scores: Mapping[int, float | None]
    """Epoch -> top-1, a fraction; None where it was no number."""
    last: Mapping[str, Scalar]
    """The last report's numbers."""
    started: float | None
    """Seconds since 1970, of the first attempt."""
    ended: float | None
    attempts: int
    error: str

    @property
    def score(self) -> float | None:
        """The last top-1."""
        return self.scores[max(self.scores)] if self.scores else None


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


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write under; what is there in the end becomes the new file, unless it failed.

    Raises: UsageError if the file came into being meanwhile, NotReady if it cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield aside
        os.link(aside, path)  # unlike a rename, never over a file that came into being meanwhile
    except FileExistsError:
        raise UsageError(_exists(path)) from None
    except OSError as error:
        raise NotReady(f"--output {path}: cannot be written: {error.strerror or error}") from error
    finally:
        aside.unlink(missing_ok=True)


def _run(source: str | Path) -> RunDir:
    """The run that is meant. Raises: UsageError, with the targets that a model has."""
    try:
        return existing_run(source)
    except UsageError as error:
        why = str(error).removeprefix("--run-dir ")
    if (Path(source) / "recipe.json").is_file():
        why = f"{source}: a model, not a run; use --to {', '.join(MODEL_TARGETS)}"
    raise UsageError(why)


def trial_records(run_dir: RunDir) -> list[TrialRecord]:
    """The trials of a run in the order in which they were proposed."""
    pairs, _ = read_events(run_dir.journal)
    history = History()
    history_of(pairs, into=history)
    started, ended = _times(event for event, _ in pairs)
    return [
        _record(trial, started.get(trial.key), ended.get(trial.key)) for trial in history.trials()
    ]


def _record(trial: Trial, started: float | None, ended: float | None) -> TrialRecord:
    labels = trial.labels
    last = trial.reports[-1] if trial.reports else {}
    return TrialRecord(
        number=trial.number,
        key=trial.key,
        stage=trial.stage,
        status=trial.status,
        params={name: value for name, value in labels.items() if name not in DESCRIPTIVE},
        description={name: value for name, value in labels.items() if name in DESCRIPTIVE},
        scores={report["epoch"]: report.get(SCORE) for report in trial.reports},
        last={
            name: value
            for name, value in last.items()
            if isinstance(value, int | float) and name != "epoch"
        },
        started=started,
        ended=ended if trial.status.ended else None,
        attempts=trial.attempt,
        error=trial.error,
    )


def _times(events: Iterable[Event]) -> tuple[dict[str, float], dict[str, float]]:
    """When each trial was first started, and when the last thing happened to it."""
    started: dict[str, float] = {}
    ended: dict[str, float] = {}
    for event in events:
        match event:
            case {"event": "started", "key": key, "t": t}:
                started.setdefault(key, t)
            case {"event": "finished" | "failed", "key": key, "t": t}:
                ended[key] = t
            case {"event": "decision", "stopped": keys, "t": t}:
                ended.update(dict.fromkeys(keys, t))
    return started, ended


def _free(path: Path) -> Path:
    if path.exists() or path.is_symlink():
        raise UsageError(_exists(path))
    if not path.absolute().parent.is_dir():
        raise UsageError(f"--output {path}: there is no folder '{path.absolute().parent}'")
    return path


def _exists(path: Path) -> str:
    return f"--output {path}: exists; name another file, or remove it first"


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
