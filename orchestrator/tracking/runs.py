"""What a journal tells about a study, a question and a trial, as the records that show them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.history import Status, Trial
from orchestrator.models.listing import models_of_stage
from orchestrator.run_dir import RunDir
from orchestrator.tracking.address import masked
from orchestrator.tracking.records import ModelRecord, Point, RunRecord, RunStatus
from orchestrator.tracking.tables import flatten, number, read_result, result_metrics, stage_files

NAME_LIMIT = 250
PARAM_LIMIT = 6000
TAG_LIMIT = 5000
_FORBIDDEN = re.compile(r"[^\w\-. /:]")
_UNTOLD = ("macs", "macs_ratio", "params", "flops")
"""Labels that would only lengthen a trial's name."""
_ENDED: dict[Status, RunStatus] = {
    Status.COMPLETE: "FINISHED",
    Status.PRUNED: "KILLED",
    Status.FAILED: "FAILED",
}


@dataclass(slots=True, kw_only=True)
class Question:
    """One question asked of a stage."""

    stage: str
    number: int
    """From 1, within the stage."""
    content: Mapping[str, Any]
    plan: Mapping[str, Any]
    started: float
    concluded: float | None = None
    superseded: float | None = None

    @property
    def ref(self) -> str:
        """Its name within the study."""
        return f"{self.stage}/{self.number}"


@dataclass(slots=True, kw_only=True)
class Course:
    """What the history does not keep about a trial that was started."""

    parent: str
    started: float
    ended: float | None = None
    points: list[Point] = field(default_factory=list)
    """Those that were not sent yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The run at one moment of its journal."""

    run_dir: RunDir
    study: str
    description: Mapping[str, str]
    """`run.json`, flattened."""
    started: float
    last: float
    """Time of the latest event."""
    closed: bool
    """No controller is at work: what is unfinished was interrupted."""

    def status(self) -> RunStatus:
        """How to show what is unfinished."""
        return "KILLED" if self.closed else "RUNNING"

    def word(self, word: str) -> str:
        """How to call it."""
        return "interrupted" if self.closed else word

    def end(self, ended: float | None) -> int | None:
        """When it ended, or was interrupted."""
        ended = self.last if ended is None and self.closed else ended
        return None if ended is None else milliseconds(ended)


def study_record(view: View, asked: Iterable[Question]) -> RunRecord:
    """The run above all others; finished when the last question of every stage is answered."""
    questions = list(asked)
    concluded = [question.concluded for question in questions if question.concluded is not None]
    done = bool(questions) and len(concluded) == len(questions)
    name = view.run_dir.root.resolve().name
    tags = {"run_dir": name, "status": "complete" if done else view.word("running")}
    if dataset := view.description.get("config.dataset"):
        tags["dataset"] = dataset
    return RunRecord(
        ref=view.study,
        level="study",
        parent=None,
        name=name,
        status="FINISHED" if done else view.status(),
        started=milliseconds(view.started),
        ended=view.end(max(concluded) if done else None),
        params={},
        tags=_clipped({**view.description, **tags}, TAG_LIMIT),
    )


def stage_record(view: View, question: Question, *, current: bool) -> RunRecord:
    """The run of one question; the result on disk belongs to the current one."""
    done, answered = question.concluded is not None, question.concluded is not None and current
    word = "complete" if done else view.word("running") if current else "superseded"
    status: RunStatus = "FINISHED" if done else view.status() if current else "KILLED"
    tags = {"stage": question.stage, "question": question.ref, "status": word}
    return RunRecord(
        ref=question.ref,
        level="stage",
        parent=view.study,
        name=question.stage if question.number == 1 else f"{question.stage} ({question.number})",
        status=status,
        started=milliseconds(question.started),
        ended=view.end(question.concluded if done else question.superseded),
        params=_clipped(flatten(question.content), PARAM_LIMIT),
        tags=_clipped({**tags, **flatten(question.plan, prefix="plan.")}, TAG_LIMIT),
        points=_result_points(view, question) if answered else (),
        files=stage_files(view.run_dir, question.stage) if answered else {},
    )


def model_records(run_dir: RunDir, question: Question) -> list[ModelRecord]:
    """The models that the result on disk lists, as those of this question."""
    return [
        ModelRecord(
            ref=f"{question.ref}/{model.name}",
            run=question.ref,
            name=model.name,
            folder=model.folder,
            register=model.register,
        )
        for model in models_of_stage(run_dir, question.stage)
    ]


def trial_record(view: View, trial: Trial, course: Course) -> RunRecord:
    """The run of one trial."""
    proposal = trial.proposal
    labels, config = proposal.get("labels") or {}, proposal.get("config") or {}
    return RunRecord(
        ref=trial.key,
        level="trial",
        parent=course.parent,
        name=masked(_trial_name(trial.key, labels))[:NAME_LIMIT],
        status=_ENDED.get(trial.status) or view.status(),
        started=milliseconds(course.started),
        ended=view.end(course.ended),
        params=_clipped({**flatten(config), **flatten(labels)}, PARAM_LIMIT),
        tags=_clipped(_trial_tags(view, trial, {"seed": config.get("seed"), **labels}), TAG_LIMIT),
        points=tuple(course.points),
    )


def report_points(report: Mapping[str, Any], at: float) -> list[Point]:
    """The numbers of an epoch's report; what is a list, or no finite number, is left out."""
    return [
        _point(name, value, step=report["epoch"], at=at)
        for name, item in report.items()
        if name != "epoch" and (value := number(item)) is not None
    ]


def read_description(run_dir: RunDir) -> dict[str, str]:
    """`run.json` as tags; empty where it cannot be read."""
    try:
        document = json.loads(run_dir.description.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return flatten(document) if isinstance(document, dict) else {}


def milliseconds(t: float) -> int:
    """Seconds since the epoch as the trackers' milliseconds."""
    return round(t * 1000)


def _result_points(view: View, question: Question) -> tuple[Point, ...]:
    at = question.started if question.concluded is None else question.concluded
    rows = result_metrics(read_result(view.run_dir, question.stage))
    return tuple(
        _point(name, value, step=step, at=at)
        for step, row in enumerate(rows)
        for name, value in row.items()
    )


def _point(name: str, value: float, *, step: int, at: float) -> Point:
    safe = _FORBIDDEN.sub("_", name)[:NAME_LIMIT]
    return Point(name=safe, value=value, step=step, milliseconds=milliseconds(at))


def _trial_tags(view: View, trial: Trial, labels: Mapping[str, Any]) -> dict[str, str]:
    tags = flatten(labels) | {"stage": trial.stage, "trial_key": trial.key}
    tags["status"] = str(trial.status) if trial.status.ended else view.word(str(trial.status))
    tags |= {"attempts": str(trial.attempt), "losses": str(trial.losses)}
    if sha := view.description.get("git_sha"):
        tags["git_sha"] = sha
    if trial.error:
        tags |= {"error": trial.error, "traceback": trial.traceback[-TAG_LIMIT:]}
    return tags


def _trial_name(key: str, labels: Mapping[str, Any]) -> str:
    if isinstance(name := labels.get("name"), str) and name:
        return name
    told = {name: text for name, text in flatten(labels).items() if name not in _UNTOLD}
    return " ".join(f"{name}={text}" for name, text in told.items()) or key


def _clipped(values: Mapping[str, str], limit: int) -> dict[str, str]:
    """Names and values as trackers take them, and no password among them."""
    return {
        _FORBIDDEN.sub("_", name)[:NAME_LIMIT]: masked(text)[:limit]
        for name, text in values.items()
    }
