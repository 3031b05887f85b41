"""The run on one page, for people: `report.md` and its figures, rebuilt from what the run wrote."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.errors import NotReady
from orchestrator.history import History, Status, Trial, history_of
from orchestrator.journal import Event, read_events
from orchestrator.reporting.ablate_report import ablate_chapter
from orchestrator.reporting.augment_report import augment_chapter
from orchestrator.reporting.continuing import CONFIGS, command_line
from orchestrator.reporting.fixres_report import fixres_chapter
from orchestrator.reporting.formats import counted, duration, size
from orchestrator.reporting.markdown import bullets, code, paragraph, section, table
from orchestrator.reporting.progress import describe, stages_of
from orchestrator.reporting.scale_report import scale_chapter
from orchestrator.reporting.scaling_report import scaling_chapter
from orchestrator.reporting.spending import Spent, spent_on
from orchestrator.reporting.tables import Columns, Row
from orchestrator.run_dir import RunDir, write_whole

CHAPTERS: dict[str, Callable[[Row, History, RunDir], list[str]]] = {
    "search-scaling": scaling_chapter,
    "search-augment": augment_chapter,
    "scale": scale_chapter,
    "fixres": fixres_chapter,
    "ablate": ablate_chapter,
}
"""Stage -> what its result says; a stage without one is reported by its trials alone."""
FAILURES: Columns = {
    "trial": lambda row: str(row["number"]),
    "what": lambda row: row["what"],
    "why": lambda row: row["error"],
}
COSTS: Columns = {
    "": lambda row: row["what"],
    "planned": lambda row: row["planned"],
    "spent": lambda row: row["spent"],
}


def write_report(run_dir: RunDir) -> Path:
    """Write `report.md` and `figures/` from the journal and the results; return the report's path.

    The same run gives the same bytes, whenever and wherever it is asked; a run that is under way
    is reported as far as it has come.

    Raises:
        NotReady: what the run wrote cannot be read, or the report cannot be written.
    """
    try:
        pairs, _ = read_events(run_dir.journal)
        history = History()
        history_of(pairs, into=history)
        events = [event for event, _ in pairs]
        lines = _report(run_dir, history, events)
        write_whole(run_dir.report, "\n".join(lines).rstrip() + "\n")
    except OSError as error:
        raise NotReady(f"report: {error.filename or run_dir.root}: {error.strerror}") from error
    return run_dir.report


def _report(run_dir: RunDir, history: History, events: Sequence[Event]) -> list[str]:
    description = _read_json(run_dir.description) or {}
    stages = stages_of(history)
    lines = [f"# {_title(description, stages)}", ""]
    for stage in stages:
        result = _read_json(run_dir.result(stage))
        lines += _stage(stage, result, history, events, run_dir)
        lines += section("Go on", _going_on(description, result, run_dir))
    if not stages:
        lines += paragraph("Nothing has been asked yet.")
    return [*lines, *section("Origin", _origin(description))]


def _title(description: Mapping[str, Any], stages: Sequence[str]) -> str:
    command = description.get("command") or ", ".join(stages) or "a run"
    dataset = (description.get("config") or {}).get("dataset")
    return f"{command} on {dataset}" if dataset else str(command)


def _stage(
    stage: str,
    result: dict[str, Any] | None,
    history: History,
    events: Sequence[Event],
    run_dir: RunDir,
) -> list[str]:
    lines = []
    if result is None:
        lines += paragraph(f"**{stage} has no result yet.**")
    elif stage in CHAPTERS:
        lines += CHAPTERS[stage](result, history, run_dir)
    if stage not in CHAPTERS or result is None:
        asked = history.questions.get(stage, {}).get("question", {})
        text = json.dumps(asked, indent=1, ensure_ascii=False).splitlines()
        lines += section("Question", code(*text, language="json"))
    spent = spent_on(history, events, stage)
    failed = [trial for trial in history.trials(stage) if trial.status is Status.FAILED]
    lines += section("Failures", table(FAILURES, [_failure(trial) for trial in failed]))
    planned = (result or {}).get("plan") or {}
    return lines + section("Plan and spent", table(COSTS, _costs(planned, spent)), _notes(spent))


def _failure(trial: Trial) -> Row:
    return {"number": trial.number, "what": describe(trial), "error": trial.error}


def _costs(planned: Mapping[str, Any], spent: Spent) -> list[Row]:
    hours, gpu_hours = planned.get("estimated_hours"), planned.get("estimated_gpu_hours")
    disk = planned.get("disk_bytes")
    rows = [
        ("trials", _number(planned.get("trials")), f"{spent.trials:,}"),
        ("epochs", _number(planned.get("epochs")), f"{spent.epochs:,}"),
        ("wall time", _time(hours), _time(spent.wall_hours)),
        ("training time, all trials together", "", _time(spent.training_hours)),
        ("checkpoints", "" if disk is None else size(disk), ""),
    ]
    if gpu_hours or spent.gpu_hours:
        rows.insert(3, ("GPU hours", f"{gpu_hours or 0:.2f}", f"{spent.gpu_hours:.2f}"))
    return [{"what": what, "planned": plan, "spent": real} for what, plan, real in rows]


def _notes(spent: Spent) -> list[str]:
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(spent.by_status.items()))
    said = [f"trials: {statuses}"] if statuses else []
    said.append(f"{counted(spent.sessions, 'session')} of the controller")
    if spent.losses:
        said.append(f"{counted(spent.losses, 'worker')} died under a trial, which went on")
    said.append("planned times are estimates at the speed that was measured in this run")
    return bullets(said)


def _going_on(
    description: Mapping[str, Any], result: Mapping[str, Any] | None, run_dir: RunDir
) -> list[str]:
    where, lines = str(run_dir.root), list[str]()
    if description.get("command") in CONFIGS:
        left = "It takes up where it stopped" if result is None else "It finds everything done"
        lines += paragraph(f"The same command; finished trials are never trained again. {left}:")
        lines += code(shlex.join(command_line(description, where)))
        if seeds := ((result or {}).get("verdict") or {}).get("seeds_to_separate"):
            more = shlex.join(command_line(description, where, seeds=seeds))
            lines += [*paragraph("Enough seeds to tell the first two apart:"), *code(more)]
    place = shlex.quote(where)
    lines += paragraph("In other tools:")
    lines += code(
        f"orchestrator export {place} --to optuna --output study.db",
        f"orchestrator export {place} --to csv --output trials.csv",
        f"orchestrator mlflow-sync --run-dir {place}",
    )
    return lines


def _origin(description: Mapping[str, Any]) -> list[str]:
    packages, host = description.get("packages") or {}, description.get("host") or {}
    said = {
        "commit": description.get("git_sha"),
        "host": ", ".join(str(value) for value in host.values()),
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
    }
    return bullets(f"{name}: {text}" for name, text in said.items() if text)


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _time(hours: float | None) -> str:
    return "" if hours is None else duration(3600 * hours)


def _read_json(path: Path) -> dict[str, Any] | None:
    """The document in a file; None where there is none, or none that is whole."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return document if isinstance(document, dict) else None
