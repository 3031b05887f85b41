"""Trained models in real MLflow and SQLite."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus

from orchestrator.journal import open_journal
from orchestrator.run_dir import write_json
from orchestrator.tracking.delivery import Control, Delivery
from orchestrator.tracking.mirror import sync
from orchestrator.tracking.records import TrackerRefused
from tests.journals import QUESTION, STAGE, asked, conclude, whole_trial, write_run
from tests.tracked import runs
from tests.trainer.portable.factories import a_model
from trainer.portable.files import write_model

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def run_with_models(root, **registered):
    """A finished run whose result lists models, each with the name it is registered under."""
    run_dir = write_run(root, [whole_trial(0)])
    list_models(run_dir, **registered)
    return run_dir


def list_models(run_dir, **registered):
    entries = []
    for seed, (name, register) in enumerate(registered.items()):
        write_model(run_dir.stage(STAGE) / "models" / name, a_model(seed=seed))
        entries.append({"name": name, "path": f"{STAGE}/models/{name}", "register": register})
    write_json(run_dir.result(STAGE), {"stage": STAGE, "models": entries})


def once(run_dir):
    return sync(run_dir, tracking_uri=None, until_end=True)


def logged(uri):
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("orchestrator")
    return list(client.search_logged_models([experiment.experiment_id]))


def stage_run(uri):
    return next(run for run in runs(uri) if run.data.tags["level"] == "stage")


@pytest.fixture(autouse=True)
def no_address_from_outside(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.slow
class TestInMlflow:
    @pytest.fixture(scope="class")
    def sent(self, tmp_path_factory):
        """A run with two models, one of them registered, sent twice: address and summaries."""
        root = tmp_path_factory.mktemp("models")
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("MLFLOW_TRACKING_URI", raising=False)
            before = dict(os.environ)
            run_dir = run_with_models(root / "run", B1="digits", **{"B1.5": None})
            summaries = once(run_dir), once(run_dir)
            assert dict(os.environ) == before
        return f"sqlite:///{root / 'mlflow.db'}", summaries

    def test_a_second_time_adds_nothing(self, sent):
        uri, (first, again) = sent
        assert (first.models, first.refused) == (2, ())
        assert (again.models, again.refused, again.points) == (0, (), 0)
        assert sorted(model.name for model in logged(uri)) == ["B1", "B1-5"]
        versions = MlflowClient(tracking_uri=uri).search_model_versions("name = 'digits'")
        assert [version.version for version in versions] == [1]

    def test_they_belong_to_the_stages_run(self, sent):
        uri, _ = sent
        stage = stage_run(uri)
        assert {model.source_run_id for model in logged(uri)} == {stage.info.run_id}
        outputs = {each.model_id for each in stage.outputs.model_outputs}
        assert outputs == {model.model_id for model in logged(uri)}
        assert stage.info.status == "FINISHED"

    def test_a_model_answers_with_what_torch_and_mlflow_alone_can_load(self, sent, tmp_path):
        uri, _ = sent
        images = np.random.default_rng(0).normal(size=(5, 3, 16, 16)).astype(np.float32)
        np.save(tmp_path / "images.npy", images)
        script = """
            import sys, warnings
            warnings.simplefilter("ignore")
            import mlflow, numpy, torch
            mlflow.set_tracking_uri(sys.argv[1])
            images = numpy.load("images.npy")
            graph = mlflow.pytorch.load_model("models:/digits/1")
            assert "trainer" not in sys.modules and "torchvision" not in sys.modules
            numpy.save("logits.npy", graph(torch.from_numpy(images)).detach().numpy())
            numpy.save("served.npy", mlflow.pyfunc.load_model("models:/digits/1").predict(images))
        """
        subprocess.run(
            [sys.executable, "-I", "-c", textwrap.dedent(script), uri],
            cwd=tmp_path,
            env={**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
            check=True,
        )
        expected = a_model(seed=0).network()(torch.from_numpy(images)).detach().numpy()
        for name in ("logits.npy", "served.npy"):
            assert np.allclose(np.load(tmp_path / name), expected, rtol=0, atol=1e-6)

    def test_signature_example_and_recipe_are_there(self, sent):
        uri, _ = sent
        model = next(model for model in logged(uri) if model.name == "B1")
        folder = Path(model.artifact_location.removeprefix("file://"))
        info = mlflow.models.Model.load(str(folder))
        (images,), (logits,) = info.signature.inputs.inputs, info.signature.outputs.inputs
        assert (images.shape, images.type) == ((-1, 3, 16, 16), np.float32)
        assert (logits.shape, logits.type) == ((-1, 10), np.float32)
        assert info.load_input_example(str(folder)).shape[1:] == (3, 16, 16)
        recipe = json.loads((folder / "extra_files" / "recipe.json").read_text())
        assert recipe == a_model().recipe.to_json()
        assert info.metadata["class_names"] == recipe["class_names"]

    def test_what_was_cut_short_is_sent_again(self, sent, tmp_path):
        run_dir = run_with_models(tmp_path / "run", B1="digits")
        once(run_dir)
        uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
        client = MlflowClient(tracking_uri=uri)
        (whole,) = logged(uri)
        part = client.create_logged_model(
            whole.experiment_id, name="B1", source_run_id=whole.source_run_id, tags=whole.tags
        )
        assert part.status == LoggedModelStatus.PENDING
        assert once(run_dir).models == 0
        assert [model.model_id for model in logged(uri)] == [whole.model_id]


class MemoryTracker:
    """Keeps what it is told, in order; refuses the models of some names."""

    def __init__(self, refuses=()):
        self.refuses = refuses
        self.told = []

    def connect(self, study):
        return self

    def write(self, record):
        self.told.append(record.ref)
        return 0

    def write_model(self, record):
        if record.name in self.refuses:
            raise TrackerRefused("not this one")
        self.told.append(record.ref)
        return True


def deliver(run_dir, tracker):
    control = Control()
    control.end()
    delivery = Delivery(run_dir, tracker.connect, control)
    return delivery.run(interrupted=lambda: True), delivery.tally


def list_only(run_dir, *names, path=None):
    entries = [
        {"name": name, "path": path or f"{STAGE}/models/{name}", "register": None} for name in names
    ]
    write_json(run_dir.result(STAGE), {"models": entries})


@pytest.fixture
def run_dir(tmp_path, monkeypatch):
    monkeypatch.setattr("orchestrator.tracking.delivery.POLL", 0.001)
    return write_run(tmp_path / "run", [whole_trial(0)])


def test_models_come_after_all_runs_and_once(run_dir):
    list_only(run_dir, "B1", "B2")
    tracker = MemoryTracker()
    complete, tally = deliver(run_dir, tracker)
    assert (complete, tally.models) == (True, 2)
    runs, models = tracker.told[:3], [ref for ref in tracker.told if "/B" in ref]
    assert runs[1:] == [f"{STAGE}/1", "trial-0"]
    assert models == [f"{STAGE}/1/B1", f"{STAGE}/1/B2"]


def test_a_model_that_is_refused_holds_up_nothing_and_is_told(run_dir):
    list_only(run_dir, "B1", "B2")
    tracker = MemoryTracker(refuses=["B1"])
    complete, tally = deliver(run_dir, tracker)
    assert not complete
    assert tally.refused == {f"{STAGE}/1/B1": "not this one"}
    assert f"{STAGE}/1/B2" in tracker.told


def test_a_result_belongs_to_the_last_question(run_dir):
    with open_journal(run_dir) as (journal, _):
        journal.append(asked({**QUESTION, "grid": [2]}))
        conclude(journal, run_dir)
    list_only(run_dir, "B1")
    tracker = MemoryTracker()
    deliver(run_dir, tracker)
    assert [ref for ref in tracker.told if ref.endswith("/B1")] == [f"{STAGE}/2/B1"]


def test_a_question_without_an_answer_has_no_models(run_dir):
    with open_journal(run_dir) as (journal, _):
        journal.append(asked({**QUESTION, "grid": [2]}))
    list_only(run_dir, "B1")
    tracker = MemoryTracker()
    deliver(run_dir, tracker)
    assert not [ref for ref in tracker.told if ref.endswith("/B1")]


def test_a_result_names_no_files_outside_its_run(run_dir):
    list_only(run_dir, "B1", path="../elsewhere")
    tracker = MemoryTracker()
    assert deliver(run_dir, tracker)[1].models == 0


def test_a_model_that_is_gone_is_one_line(tmp_path):
    run_dir = run_with_models(tmp_path / "run", B1=None)
    for path in (run_dir.stage(STAGE) / "models" / "B1").iterdir():
        path.unlink()
    summary = once(run_dir)
    assert summary.models == 0
    (line,) = summary.refused
    assert line.startswith(f"{STAGE}/1/B1: ")
    assert "no model (recipe.json is missing)" in line
    list_models(run_dir, B1=None)
    assert once(run_dir).models == 1
    assert len(logged(f"sqlite:///{tmp_path / 'mlflow.db'}")) == 1
