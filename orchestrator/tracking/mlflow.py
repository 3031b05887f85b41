"""The door to MLflow: run records in, MLflow's runs out, and its failures as ours.

Imported by the mirror alone (it costs seconds and hundreds of megabytes), inside `mlflow_at_work`.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import mlflow
from mlflow import MlflowClient
from mlflow.entities import (
    LoggedModel,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunTag,
)
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.tracking.address import masked
from orchestrator.tracking.records import ModelRecord, RunRecord, TrackerDown, TrackerRefused
from orchestrator.tracking.tables import digest
from orchestrator.tracking.workplace import fresh_database_alone

EXPERIMENT = "orchestrator"
_PAGE = 500
_REFUSALS = (400, 404, 409, 422)
_UNFIT = re.compile(r"[/:.%\"']")
"""What MLflow takes in no model's name."""


@dataclass(slots=True)
class _Known:
    """What MLflow has of a run."""

    run_id: str
    status: str
    ended: int | None
    params: frozenset[str]
    tags: dict[str, str]
    steps: dict[str, int]
    """Last step of every metric."""


class MlflowTracker:
    """Writes the runs of one study, each as the difference from what MLflow has of it already."""

    def __init__(self, client: MlflowClient, experiment: str, study: str) -> None:
        self._client = client
        self._experiment = experiment
        self._study = study
        self._ids: dict[str, str] = {}
        self._known: dict[str, _Known] = {}
        self._unanswered: set[str] = set()
        """Runs that were to be created when the answer got lost: they may exist."""

    @classmethod
    def connect(cls, uri: str, *, study: str, artifacts: str | None) -> Self:
        """Open the store (a fresh database is created) and learn which runs it has of this study.

        Raises:
            TrackerDown: not reachable, not MLflow, or not for us.
        """
        try:
            with _our_errors():
                with fresh_database_alone(uri):
                    client = MlflowClient(tracking_uri=uri)
                    experiment = _experiment(client, artifacts)
                tracker = cls(client, experiment, study)
                tracker._learn()
        except TrackerRefused as error:  # no record is to blame
            raise TrackerDown(str(error)) from error
        return tracker

    def write(self, record: RunRecord) -> int:
        """See `Tracker.write`."""
        try:
            with _our_errors():
                known = self._look_up(record.ref) or self._create(record)
                points = self._send(record, known)
        except (TrackerDown, TrackerRefused):
            self._known.pop(record.ref, None)  # how much of it was done is not known
            raise
        if record.ended is None:
            self._known[record.ref] = known
        else:  # a long search must not fill the memory with what is over
            self._known.pop(record.ref, None)
        return points

    def write_model(self, record: ModelRecord) -> bool:
        """See `Tracker.write_model`."""
        if record.run not in self._ids:
            raise TrackerRefused(f"the run above it, {record.run}, was refused")
        with _our_errors():
            tags = {
                "study": self._study,
                "question": record.run,
                "model": _UNFIT.sub("-", record.name),
                "content": _content(record.folder),
            }
            models = _Models(self._client, self._experiment)
            return models.write(record, self._ids[record.run], tags)

    def _learn(self) -> None:
        for run in self._search(f"tags.study = '{self._study}'"):
            found = _known(run)
            ref = _ref(found.tags, self._study)
            if twin := self._known.get(ref):
                found = self._without_twin(twin, found)
            self._known[ref], self._ids[ref] = found, found.run_id

    def _without_twin(self, first: _Known, second: _Known) -> _Known:
        """Of two runs for one record keep the fuller one.

        A request to create a run that was answered too late leaves an empty twin.
        """
        empty, full = sorted(
            (first, second), key=lambda known: len(known.steps) + len(known.params)
        )
        if not empty.steps and not empty.params:
            self._client.delete_run(empty.run_id)
        return full

    def _look_up(self, ref: str) -> _Known | None:
        if ref in self._known:
            return self._known[ref]
        if ref in self._ids:
            return _known(self._client.get_run(self._ids[ref]))
        if ref in self._unanswered:
            self._learn()
            self._unanswered.discard(ref)
        return self._known.get(ref)

    def _create(self, record: RunRecord) -> _Known:
        tags = {**record.tags, "study": self._study, "level": record.level}
        tags["mlflow.source.name"] = EXPERIMENT
        if record.parent is not None:
            if record.parent not in self._ids:
                raise TrackerRefused(f"the run above it, {record.parent}, was refused")
            tags["mlflow.parentRunId"] = self._ids[record.parent]
        self._unanswered.add(record.ref)
        run = self._client.create_run(
            self._experiment, start_time=record.started, tags=tags, run_name=record.name
        )
        self._unanswered.discard(record.ref)
        self._ids[record.ref] = run.info.run_id
        return _Known(run.info.run_id, "RUNNING", None, frozenset(), tags, {})

    def _send(self, record: RunRecord, known: _Known) -> int:
        points = [p for p in record.points if p.step > known.steps.get(p.name, -1)]
        params = {name: text for name, text in record.params.items() if name not in known.params}
        tags = {name: text for name, text in record.tags.items() if known.tags.get(name) != text}
        metrics = [Metric(p.name, p.value, p.milliseconds, p.step) for p in points]
        if metrics or params or tags:
            self._client.log_batch(
                known.run_id,
                metrics,
                [Param(name, text) for name, text in params.items()],
                [RunTag(name, text) for name, text in tags.items()],
            )
        known.params |= params.keys()
        known.tags |= tags
        known.steps |= {point.name: point.step for point in points}
        self._send_files(record.files, known)
        self._send_status(record, known)
        return len(points)

    def _send_files(self, files: Mapping[str, bytes], known: _Known) -> None:
        content = digest(files)
        if not files or known.tags.get("artifacts") == content:
            return
        with TemporaryDirectory() as folder:
            for name, data in files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            self._client.log_artifacts(known.run_id, folder)
        self._client.set_tag(
            known.run_id, "artifacts", content
        )  # last: an upload cut short is redone
        known.tags["artifacts"] = content

    def _send_status(self, record: RunRecord, known: _Known) -> None:
        if record.ended is not None and (record.status, record.ended) != (
            known.status,
            known.ended,
        ):
            self._client.set_terminated(known.run_id, record.status, record.ended)
        elif record.ended is None and record.status != known.status:
            self._client.update_run(known.run_id, record.status)
        known.status, known.ended = record.status, record.ended

    def _search(self, query: str) -> Iterator[Run]:
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self._experiment], query, max_results=_PAGE, page_token=token
            )
            yield from page
            token = page.token
            if not token:
                return


@dataclass(frozen=True, slots=True)
class _Models:
    """Keeps models in MLflow, each step only if it was not done before."""

    client: MlflowClient
    experiment: str

    def write(self, record: ModelRecord, run_id: str, tags: Mapping[str, str]) -> bool:
        """Log the model in the run, and register it if it has a name there."""
        known = self._finished(tags)
        model = known or self._log(record, run_id, tags)
        outputs = self.client.get_run(run_id).outputs
        linked = outputs.model_outputs if outputs else ()
        if model.model_id not in {each.model_id for each in linked}:
            self.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        registered = record.register is not None and self._register(model, record.register)
        return known is None or registered

    def _finished(self, tags: Mapping[str, str]) -> LoggedModel | None:
        """The same model as it was logged before; what was cut short is removed."""
        query = " AND ".join(f"tags.{name} = '{text}'" for name, text in tags.items())
        finished = None
        for model in self.client.search_logged_models([self.experiment], query):
            if model.status == LoggedModelStatus.READY:
                finished = model
            else:
                self.client.delete_logged_model(model.model_id)
        return finished

    def _log(self, record: ModelRecord, run_id: str, tags: Mapping[str, str]) -> LoggedModel:
        model = self.client.create_logged_model(
            self.experiment, name=tags["model"], source_run_id=run_id, tags=dict(tags)
        )
        try:
            with TemporaryDirectory() as folder:
                path = Path(folder, "model")
                _save(record.folder, path, model, run_id)
                self.client.log_model_artifacts(model.model_id, str(path))
        except BaseException:
            with suppress(MlflowException):  # else the next mirror removes it
                self.client.delete_logged_model(model.model_id)
            raise
        return self.client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)

    def _register(self, model: LoggedModel, name: str) -> bool:
        source = f"models:/{model.model_id}"
        versions = self.client.search_model_versions(f"run_id = '{model.source_run_id}'")
        if any((each.name, each.source) == (name, source) for each in versions):
            return False
        with _addressed(self.client.tracking_uri):
            mlflow.register_model(source, name)
        return True


def _save(folder: Path, path: Path, model: LoggedModel, run_id: str) -> None:
    """Write the model as MLflow keeps it: a traced graph, which needs neither us nor pickle.

    Raises: TrackerRefused.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # MLflow's and torch's, of each other
            _save_graph(folder, path, model, run_id)
    except Exception as error:  # a model that cannot be traced fails in many ways
        raise TrackerRefused(f"{folder} cannot be exported: {_line(error)}") from error


def _save_graph(folder: Path, path: Path, model: LoggedModel, run_id: str) -> None:
    import mlflow.pytorch
    import numpy as np
    import torch
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    from trainer.portable.files import RECIPE, read_model

    found = read_model(folder)
    side = found.recipe.preprocessing.resolution
    floats = np.dtype(np.float32)
    classes = found.recipe.model.num_classes
    mlflow.pytorch.save_model(
        found.network(),
        str(path),
        mlflow_model=Model(
            artifact_path=model.artifact_location,
            run_id=run_id,
            model_uuid=model.model_id,
            model_id=model.model_id,
        ),
        signature=ModelSignature(
            inputs=Schema([TensorSpec(floats, (-1, 3, side, side))]),
            outputs=Schema([TensorSpec(floats, (-1, classes))]),
        ),
        # Two images: of one, the tracer would fix their number. Zero is the mean colour.
        input_example=np.zeros((2, 3, side, side), np.float32),
        extra_files=[str(folder / RECIPE)],
        # What it is traced to are torch's own operations; MLflow would load it to find out.
        pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", "numpy"],
        metadata={"class_names": list(found.recipe.class_names)},
        serialization_format="pt2",
    )


def _content(folder: Path) -> str:
    """A short name for the files of the model, whether or not they are all there."""
    hasher = hashlib.sha256()
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        if path.is_file() and not path.name.startswith("."):
            with path.open("rb") as file:
                hasher.update(f"{path.name}:".encode())
                hasher.update(hashlib.file_digest(file, "sha256").digest())
    return hasher.hexdigest()[:16]


@contextmanager
def _addressed(uri: str) -> Iterator[None]:
    """MLflow's registry asks the store of this address, wherever the caller's own may be."""
    before = os.environ.get("MLFLOW_TRACKING_URI")  # MLflow keeps it there, too
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]  # None: as if never set


def _experiment(client: MlflowClient, artifacts: str | None) -> str:
    if (found := client.get_experiment_by_name(EXPERIMENT)) is None:
        try:
            return client.create_experiment(EXPERIMENT, artifact_location=artifacts)
        except MlflowException:  # another mirror was faster
            if (found := client.get_experiment_by_name(EXPERIMENT)) is None:
                raise
    if found.lifecycle_stage != "active":
        raise TrackerDown(f"the experiment '{EXPERIMENT}' was deleted there; restore it")
    return str(found.experiment_id)


@contextmanager
def _our_errors() -> Iterator[None]:
    try:
        yield
    except MlflowException as error:
        refused = error.get_http_status_code() in _REFUSALS  # type: ignore[no-untyped-call]
        raise (TrackerRefused if refused else TrackerDown)(_line(error)) from error
    except (OSError, SQLAlchemyError) as error:  # requests' errors are among the first
        raise TrackerDown(_line(error)) from error


def _line(error: Exception) -> str:
    lines = masked(str(error)).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


def _known(run: Run) -> _Known:
    data = run.data
    # The only public way to the steps of the latest values.
    steps = {metric.key: int(metric.step) for metric in data.to_proto().metrics}
    params = frozenset(data.params)
    return _Known(
        run.info.run_id, run.info.status, run.info.end_time, params, dict(data.tags), steps
    )


def _ref(tags: Mapping[str, str], study: str) -> str:
    return tags.get("trial_key") or tags.get("question") or study
