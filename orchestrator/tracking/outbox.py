"""The journal folded into runs, and which of them still have to be sent.

A record depends on the journal alone (a stage's on its result too), so that a mirror that starts
anew says what the one before it said. Study → stage → trial; a stage has a run for each question
that was asked of it, since a tracker's parameters cannot be changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from orchestrator.history import History
from orchestrator.journal import Event
from orchestrator.run_dir import RunDir
from orchestrator.tracking.records import ModelRecord, RunRecord
from orchestrator.tracking.runs import (
    Course,
    Question,
    View,
    model_records,
    read_description,
    report_points,
    stage_record,
    study_record,
    trial_record,
)


class Outbox:
    """Feed it every event of a journal from its beginning; ask it what to send."""

    def __init__(self, run_dir: RunDir) -> None:
        self.study = ""
        """Names the run wherever its directory is moved to; empty before the first event."""
        self._run_dir = run_dir
        self._history = History()
        self._description: dict[str, str] = {}
        self._questions: dict[str, Question] = {}
        self._current: dict[str, Question] = {}
        """The last question of each stage."""
        self._parents: dict[str, str] = {}
        self._courses: dict[str, Course] = {}
        self._dirty: dict[str, None] = {}
        self._models: dict[str, set[str]] = {}
        """The questions whose models have to be sent, and those of them that were."""
        self._started = self._last = 0.0
        self._closed = False

    def apply(self, event: Event, line: bytes) -> None:
        """Fold one event in and note which runs it changes."""
        self._last = event.get("t", self._last)
        if not self.study:
            self.study = hashlib.sha256(line).hexdigest()[:16]
            self._started = self._last
        self._dirty |= dict.fromkeys(self._changed(event, line))

    def close(self) -> None:
        """No controller is at work any more: what is unfinished was interrupted."""
        self._closed = True
        # Concluded stages too: the report and its figures may be younger than the result.
        self._dirty |= dict.fromkeys([self.study, *self._questions, *self._unfinished()])

    def dirty(self) -> list[str]:
        """The runs to be sent, parents first."""
        order = {self.study: 0} | dict.fromkeys(self._questions, 1)
        return sorted(self._dirty, key=lambda ref: order.get(ref, 2))

    def record(self, ref: str) -> RunRecord:
        """The run as it stands now."""
        view = View(
            run_dir=self._run_dir,
            study=self.study,
            description=self._description,
            started=self._started,
            last=self._last,
            closed=self._closed,
        )
        if ref == self.study:
            return study_record(view, self._current.values())
        if question := self._questions.get(ref):
            return stage_record(view, question, current=self._current[question.stage] is question)
        return trial_record(view, self._history[ref], self._courses[ref])

    def sent(self, record: RunRecord) -> None:
        """Forget what this record has told."""
        self._dirty.pop(record.ref, None)
        if record.level == "trial":
            self._courses[record.ref].points.clear()

    def next_model(self) -> ModelRecord | None:
        """A model to be sent, once every run is; None when there is none."""
        for ref, sent in list(self._models.items()):
            question = self._questions[ref]
            if self._current[question.stage] is question:  # the result on disk is its answer
                for record in model_records(self._run_dir, question):
                    if record.ref not in sent:
                        return record
            del self._models[ref]
        return None

    def model_sent(self, record: ModelRecord) -> None:
        """Do not tell of this model again."""
        self._models[record.run].add(record.ref)

    def _changed(self, event: Event, line: bytes) -> Sequence[str]:
        match event:
            case {"event": "session"}:
                return self._begin(event)
            case {"event": "stage", "stage": str(stage)}:
                return self._ask(stage, event)
            case {"event": "concluded", "stage": str(stage)} if stage in self._current:
                return self._conclude(self._current[stage])
            case {"event": "proposed", "stage": str(stage), "key": str(key)} if (
                stage in self._current
            ):
                self._parents.setdefault(key, self._current[stage].ref)
                self._history.apply(event, line)
                return []
            case {"event": "decision"}:
                return self._decide(event)
            case {"event": str(), "key": str(key)} if key in self._history:
                return self._step(event, key)
            case _:  # for other readers, or about a trial whose proposal was damaged
                return []

    def _begin(self, event: Event) -> Sequence[str]:
        self._closed = False
        self._description = read_description(self._run_dir)
        self._history.apply(event)
        return [self.study, *self._unfinished()]

    def _ask(self, stage: str, event: Event) -> Sequence[str]:
        before = self._current.get(stage)
        if before is not None and before.content == event["question"]:
            before.plan = event.get("plan") or {}
            return [before.ref]
        question = Question(
            stage=stage,
            number=before.number + 1 if before else 1,
            content=event["question"],
            plan=event.get("plan") or {},
            started=self._last,
        )
        self._current[stage] = self._questions[question.ref] = question
        if before is None:
            return [self.study, question.ref]
        before.superseded = self._last
        return [self.study, before.ref, question.ref]

    def _conclude(self, question: Question) -> Sequence[str]:
        if question.concluded is None:  # a run that is started again concludes again
            question.concluded = self._last
        self._models[question.ref] = set()
        return [self.study, question.ref]

    def _decide(self, event: Event) -> Sequence[str]:
        known = {
            name: [key for key in event[name] if key in self._history]
            for name in ("promoted", "stopped")
        }
        self._history.apply({**event, **known})
        return self._settle([*known["promoted"], *known["stopped"]])

    def _step(self, event: Event, key: str) -> Sequence[str]:
        if event["event"] == "started" and key not in self._courses:
            self._courses[key] = Course(parent=self._parents[key], started=self._last)
        if event["event"] == "report":
            epoch = event["report"]["epoch"]
            if epoch > self._history[key].epochs and key in self._courses:
                self._courses[key].points += report_points(event["report"], self._last)
            event = {**event, "report": {"epoch": epoch}}  # no need to hold the values twice
        self._history.apply(event)
        return self._settle([key])

    def _settle(self, keys: Sequence[str]) -> Sequence[str]:
        started = [key for key in keys if key in self._courses]
        for key in started:
            course = self._courses[key]
            if self._history[key].status.ended and course.ended is None:
                course.ended = self._last
        return started

    def _unfinished(self) -> list[str]:
        return [key for key in self._courses if not self._history[key].status.ended]
