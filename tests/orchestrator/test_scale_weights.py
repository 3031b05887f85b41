"""Beginning from weights, and steps that fit into memory: plans, refusals, real small runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.models import efficientnet_b0

from orchestrator.config.scale import ScaleConfig
from orchestrator.history import History, Status
from orchestrator.loading import load
from orchestrator.objectives.training import open_splits
from orchestrator.reporting.live import Silent
from orchestrator.reporting.scale_tables import scale_lines
from orchestrator.runners.base import Job, Objectives
from orchestrator.stages.micro_batches import MARGIN, halved, micro_batch, step_bytes
from orchestrator.stages.scale.plan import ScalePlan
from orchestrator.stages.scale.run import plan_for, with_search
from orchestrator.stages.scale.stage import FamilyTraining
from orchestrator.trial import Report
from tests.controlled import carried_out
from tests.mirrorless import without_mirror
from tests.orchestrator.test_mistakes import photos
from tests.simulated_scale import learn, scale_plan
from tests.trainer.factories import tiny_model
from trainer.config import EfficientNetConfig, TrainConfig
from trainer.data.cache import prepare
from trainer.models.build import build
from trainer.portable.files import PortableModel, read_model, write_model
from trainer.portable.recipe import ModelRecipe
from trainer.preprocessing import preprocessing

Run = Callable[..., tuple[int, str, str]]
DIGITS = tuple("0123456789")
TINY = ("--set", "train.model.dropout=0", "--epochs", "1", "--seeds", "1", "--runner", "inline")


@pytest.fixture
def call(command_line: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """No library has fetched weights, nothing needs to be probed, and no tracker is told."""
    without_mirror(monkeypatch)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("trainer.probe.training_speed", lambda config, **options: 1000.0)
    return command_line


@pytest.fixture
def planned(call: Run, cache: Path) -> Callable[..., ScalePlan]:
    def plan(**options: Any) -> ScalePlan:
        config = load(ScaleConfig, options={**options, "cache_dir": str(cache)})
        found, *_ = plan_for(*with_search(config), watcher=Silent())
        return found

    return plan


def a_model(folder: Path, *, classes: tuple[str, ...] = DIGITS, **changes: Any) -> Path:
    """The tiny network with weights by chance, as a run would have left it."""
    torch.manual_seed(1)
    model = tiny_model(num_classes=len(classes), **changes)
    recipe = ModelRecipe(
        name="tiny",
        model=model,
        class_names=classes,
        preprocessing=preprocessing(model.resolution, crop_fraction=1.0),
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
    )
    write_model(folder, PortableModel(recipe=recipe, weights=build(model).state_dict()))
    return folder


def test_weights_alone_are_trained_as_they_are_beside_the_same_from_nothing(
    planned: Callable[..., ScalePlan], tmp_path: Path
) -> None:
    source = a_model(tmp_path / "m", classes=("a", "b"), norm_eps=1e-5)
    plan = planned(weights=str(source), freeze="stage-1")
    begun, control = plan.members
    assert plan.table == "given"
    assert (begun.name, control.name) == ("tiny", "tiny from nothing")
    for member in plan.members:
        assert member.size.config.with_(dropout=0.2, stochastic_depth=0.2) == tiny_model(
            norm_eps=1e-5, dropout=0.2, stochastic_depth=0.2
        )
        assert member.train.model == member.size.config
    initial = begun.train.initial
    assert initial is not None
    assert (initial.keep_head, initial.frozen) == (False, 2)
    assert begun.train.data.mean == (0.1, 0.2, 0.3)
    assert control.train.initial is None
    assert control.train.data.mean == ()
    assert begun.train.optim.lr == control.train.optim.lr / 10
    assert any("the classifier is new" in warning for warning in plan.warnings)


def test_the_users_own_learning_rate_stays(
    planned: Callable[..., ScalePlan], tmp_path: Path
) -> None:
    source = str(a_model(tmp_path / "m"))
    plan = planned(weights=source, controls="none", train={"optim": {"lr": 0.03}}, resolution=20)
    (member,) = plan.members
    assert member.train.optim.lr == 0.03
    assert member.train.model.resolution == 20


def test_a_head_for_these_very_classes_is_kept(
    planned: Callable[..., ScalePlan], tmp_path: Path
) -> None:
    plan = planned(weights=str(a_model(tmp_path / "m")))
    initial = plan.members[0].train.initial
    assert initial is not None
    assert initial.keep_head
    assert not plan.warnings


def test_other_weights_are_another_question_and_another_trial(
    planned: Callable[..., ScalePlan], tmp_path: Path
) -> None:
    plans = [
        planned(weights=str(a_model(tmp_path / name, **changes)))
        for name, changes in {"a": {}, "b": {"classes": tuple("abcdefghij")}, "c": {}}.items()
    ]
    keys = [plan.spec(plan.members[0], 0).key for plan in plans]
    assert keys[0] != keys[1]
    assert keys[0] == keys[2]  # where the file lies says nothing


def test_weights_of_a_network_fit_a_size_that_is_the_same(
    planned: Callable[..., ScalePlan], tmp_path: Path
) -> None:
    scaled = planned(coefficients="1.2,1.1,1.15", phi="1")
    model = scaled.members[0].size.config
    source = a_model(tmp_path / "m")
    recipe = read_model(source).recipe
    weights = build(model).state_dict()
    write_model(source, PortableModel(recipe=recipe.with_(model=model), weights=weights))
    plan = planned(coefficients="1.2,1.1,1.15", phi="1", weights=str(source))
    assert plan.table == "exact"
    assert plan.members[0].train.initial is not None


@pytest.mark.parametrize("alone", [True, False])
def test_a_librarys_weights_fit_the_published_size(
    planned: Callable[..., ScalePlan], tmp_path: Path, alone: bool
) -> None:
    torch.save(efficientnet_b0(num_classes=7).state_dict(), tmp_path / "w.pth")
    options: dict[str, Any] = {"weights": f"torchvision:efficientnet_b0={tmp_path / 'w.pth'}"}
    if not alone:
        options |= {"published": True, "members": "B0", "classes": 10}
    plan = planned(**options)
    first = plan.members[0]
    assert (first.name, plan.table) == ("B0", "given" if alone else "published")
    assert first.train.model.norm_eps == 1e-5  # torchvision's
    assert first.size.config.num_classes == 10
    assert first.size.config.resolution == 224


MISTAKES = {
    "weights that are nowhere": (["--weights", "nowhere"], "--weights: 'nowhere' is not there"),
    "an unknown network": (["--weights", "torchvision:efficientnet_b9"], "efficientnet_b0"),
    "weights to be fetched": (["--weights", "torchvision:efficientnet_b0"], "add --download"),
    "a part that is none": (["--weights", "m", "--freeze", "stage-9"], "the network has 2 stages"),
    "a misspelt part": (["--weights", "m", "--freeze", "stems"], "choose none, stem"),
    "freezing nothing": (["--published", "--freeze", "stem"], "name them with --weights"),
    "sizes of one network": (["--weights", "m", "--phi", "1"], "that of --weights"),
    "axes of one network": (["--weights", "m", "--mode", "all"], "trained as it is"),
    "weights of another size": (
        ["--weights", "m", "--coefficients", "1.2,1.1,1.15"],
        "m does not fit B1: features.2.0.block.0.0.weight is (16, 8, 1, 1) instead of (48, ",
    ),
    "a damaged model": (["--weights", "damaged"], "recipe"),
    "a checkpoint that is none": (["--weights", "none.pt"], "none.pt"),
    "controls of a family": (["--published", "--controls", "none"], "this is for --weights"),
    "memory that is no number": (
        ["--published", "--set", "memory_per_trial=much"],
        "'much' is not a positive count",
    ),
    "a cache that is no number": (["--published", "--set", "cache_limit=-1"], "cache_limit"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_it(call: Run, tmp_path: Path, mistake: str) -> None:
    a_model(tmp_path / "m")
    (a_model(tmp_path / "damaged") / "recipe.json").write_text("{}")
    (tmp_path / "none.pt").write_bytes(b"none")
    arguments, says = MISTAKES[mistake]
    before = sorted(tmp_path.rglob("*"))
    code, out, err = call("scale", "--dry-run", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert says in err
    assert sorted(tmp_path.rglob("*")) == before


# Memory.


def test_a_step_that_does_not_fit_is_cut_into_micro_batches(
    planned: Callable[..., ScalePlan],
) -> None:
    options: dict[str, Any] = {"coefficients": "1.2,1.1,1.15", "phi": "1,3"}
    roomy = planned(**options, memory_per_trial="900G")
    assert [member.train.accumulate for member in roomy.members] == [1, 1]
    large = roomy.members[1].train
    limit = int(MARGIN * step_bytes(large)) - 1
    tight = planned(**options, memory_per_trial=str(limit))
    first, second = (member.train for member in tight.members)
    assert first == roomy.members[0].train
    assert (second.accumulate, second.batch_size) == (2, large.batch_size)
    assert any("micro-batches of 16, which is what batch norm sees" in w for w in tight.warnings)
    assert MARGIN * step_bytes(second) <= limit


def test_what_fits_in_no_micro_batch_is_planned_but_not_begun(call: Run, tmp_path: Path) -> None:
    line = ["scale", "--coefficients", "1.2,1.1,1.15", "--phi", "1", "--run-dir", "r"]
    line += ["--set", "memory_per_trial=1M", *TINY]
    code, out, _ = call(*line, "--dry-run")
    assert code == 0
    assert "even in micro-batches of 2" in out
    code, out, err = call(*line)
    assert (code, out) == (4, "")
    assert "no memory for a training step of B1" in err.splitlines()[-1]
    assert not (tmp_path / "r").exists()


def run(root: Path, plan: ScalePlan, objectives: Objectives) -> History:
    return carried_out(root, FamilyTraining(plan), objectives)


def with_room_for(images: int, *, names: tuple[str, ...] = ("B2",)) -> Objectives:
    """A machine on which larger micro-batches of these members run out of memory."""

    def objective(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
        config = job.spec.config
        assert isinstance(config, TrainConfig)
        if job.spec.labels["name"] in names and micro_batch(config) > images:
            raise MemoryError("DefaultCPUAllocator: can't allocate memory")
        yield from learn(job, should_stop)

    return {"train-model": objective}


def test_out_of_memory_in_earnest_is_tried_again_in_smaller_micro_batches(tmp_path: Path) -> None:
    plan = scale_plan(modes=("compound",))
    history = run(tmp_path, plan, with_room_for(40))
    result = FamilyTraining(plan).reduce(history)
    first, second = result["results"]
    assert (first["micro_batches"], second["micro_batches"]) == ([128], [32])
    assert len(second["seeds"]) == len(plan.seeds)
    assert second["status"] == str(Status.COMPLETE)
    failed = [t for t in history.trials("scale") if t.status is Status.FAILED]
    assert {128 // trial.proposal["config"]["accumulate"] for trial in failed} == {128, 64}
    known = len(list(history.trials("scale")))
    assert len(list(run(tmp_path, plan, with_room_for(40)).trials("scale"))) == known


def test_no_micro_batch_is_small_enough(tmp_path: Path) -> None:
    plan = scale_plan(modes=("compound",))
    result = FamilyTraining(plan).reduce(run(tmp_path, plan, with_room_for(0)))
    assert result["results"][1]["mean"] is None
    assert "can't allocate memory" in result["results"][1]["error"]


def test_another_machines_micro_batches_are_no_reason_to_train_anew(tmp_path: Path) -> None:
    plan = scale_plan(modes=("compound",))
    whole = run(tmp_path, plan, with_room_for(1000))
    smaller = scale_plan(modes=("compound",))
    members = tuple(
        member.with_(train=halved(member.train), asked_accumulate=1) for member in smaller.members
    )
    again = run(tmp_path, scale_plan(modes=("compound",), members=members), with_room_for(1000))
    assert {t.key for t in again.trials("scale")} == {t.key for t in whole.trials("scale")}


# Real training.


def test_transfer_to_two_classes_is_one_command(call: Run, tmp_path: Path) -> None:
    a_model(tmp_path / "m", classes=("x", "y", "z"))
    photos(tmp_path / "two", ["cat", "dog"], images=12)
    line = ["scale", "--weights", "m", "--dataset", "two", "--run-dir", "r", "--freeze", "features"]
    code, out, err = call(*line, *TINY, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert [row["name"] for row in result["results"]] == ["tiny", "tiny from nothing"]
    assert result["weights"]["head"] == "new"
    (comparison,) = result["comparisons"]
    assert result["verdict"]["sentence"] == comparison["sentence"]
    assert "begun from the weights" in comparison["sentence"]
    assert any(line.startswith("weights ") for line in scale_lines(result))
    model = read_model(tmp_path / "r" / result["models"][0]["path"])
    assert model.recipe.class_names == ("cat", "dog")
    assert model.recipe.mean == (0.1, 0.2, 0.3)  # as the weights were trained
    assert isinstance(model.recipe.model, EfficientNetConfig)
    begun = read_model(tmp_path / "m").weights
    for name, tensor in model.weights.items():
        if not name.startswith("classifier") and not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, begun[name]), name
    (checkpoint,) = (tmp_path / "r").rglob(f"{result['models'][0]['key']}/best.pt")
    code, out, _ = call("scale", "--weights", str(checkpoint), "--dataset", "two", "--dry-run")
    assert code == 0
    assert "does not say what its images were normalised by" in out
    again = call(*line, *TINY, "--json")
    assert json.loads(again[1])["results"] == result["results"]


def test_a_set_beyond_the_cache_limit_streams_to_the_same_result(
    call: Run, tmp_path: Path, cache: Path
) -> None:
    photos(tmp_path / "few", ["cat", "dog"], images=12)
    a_model(tmp_path / "m", classes=("cat", "dog"))
    line = ["scale", "--weights", "m", "--dataset", "few", "--controls", "none", *TINY, "--json"]
    results = []
    for number, limit in enumerate(("1", "1G")):
        open_splits.cache_clear()
        place = str(tmp_path / f"cache{number}")
        options = ["--set", f"cache_limit={limit}", "--set", f"cache_dir={place}"]
        code, out, err = call(*line, *options, "--run-dir", f"r{number}")
        assert code == 0, err
        results.append(json.loads(out)["results"][0])
        limits = {"1": 1, "1G": 2**30}
        found = prepare("few", cache_root=Path(place), limit_bytes=limits[limit])
        assert found.streamed == (limit == "1")
    assert results[0]["keys"] == results[1]["keys"]
    assert results[0]["values"] == results[1]["values"]
