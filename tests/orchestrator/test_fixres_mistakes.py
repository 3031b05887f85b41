"""What a user can get wrong is one line and exit code 2, and leaves nothing behind."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torchvision.models import efficientnet_b0

from orchestrator import api
from orchestrator.config.fixres import ADAPTATIONS, FixResStageConfig
from orchestrator.errors import NotReady
from orchestrator.estimates import Cost
from orchestrator.reporting.live import Silent
from orchestrator.run_dir import RunDir, write_json
from orchestrator.stages.fixres.geometry import explained
from orchestrator.stages.fixres.plan import FixResPlan, Network, SourceRun
from orchestrator.stages.fixres.run import plan_for, with_networks
from orchestrator.stages.fixres.setup import as_the_set_calls_them
from orchestrator.stages.fixres.source import Found, find_networks
from tests.simulated_fixres import model_folder
from tests.simulated_scale import START
from tests.trainer.factories import TINY_DATA
from trainer.config import AugmentConfig, TrainConfig
from trainer.data.cache import prepare
from trainer.data.splits import Splits, carve
from trainer.fixres.config import FixResConfig

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def splits(cache: Path) -> Splits:
    return carve(prepare("digits", cache_root=cache / "orchestrator"), TINY_DATA)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, splits: Splits) -> Path:
    """A model as it should be, and some that are not."""
    root = tmp_path_factory.mktemp("models")
    for file, classes in {"seven.pth": 7, "thousand.pth": 1000}.items():
        torch.save(efficientnet_b0(num_classes=classes).state_dict(), root / file)
    model_folder(root / "good", splits)
    model_folder(root / "bare", splits, train={})
    model_folder(root / "named", splits, class_names=tuple("0123456X89"))
    for name in ("no-recipe", "no-weights", "unfit", "adapted"):
        model_folder(root / name, splits)
    (root / "no-recipe" / "recipe.json").unlink()
    (root / "no-weights" / "model.safetensors").unlink()
    weights = load_file(root / "unfit" / "model.safetensors")
    weights["classifier.1.bias"] = torch.zeros(7)
    save_file(weights, root / "unfit" / "model.safetensors")
    recipe = json.loads((root / "adapted" / "recipe.json").read_text())
    recipe["preprocessing"] |= {"resolution": 24, "short_side": 24}
    recipe["origin"] |= {"adaptation": "finetune"}
    (root / "adapted" / "recipe.json").write_text(json.dumps(recipe))
    recipe = json.loads((root / "good" / "recipe.json").read_text())
    (root / "two").mkdir()
    recipe["class_names"], recipe["model"]["num_classes"] = ["a", "b"], 2
    recipe["train"]["model"]["num_classes"] = 2
    weights = load_file(root / "good" / "model.safetensors")
    for name in ("classifier.1.weight", "classifier.1.bias"):
        weights[name] = weights[name][:2].clone()
    (root / "two" / "recipe.json").write_text(json.dumps(recipe))
    save_file(weights, root / "two" / "model.safetensors")
    return root


@pytest.fixture
def call(command_line: Run, tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    (tmp_path / "models").symlink_to(models)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("seven.pth", "thousand.pth"):
        (tmp_path / name).symlink_to(models / name)
    return command_line


GOOD = ("--model", "models/good")
MISTAKES = {
    "no network": ([], "--model", "--family"),
    "two places": ([*GOOD, "--family", "x"], "--family", "--model"),
    "a model that is not there": (["--model", "models/none"], "models/none", "not there"),
    "a checkpoint without a recipe": (["--model", "models/no-recipe"], "no-recipe", "recipe.json"),
    "a recipe without weights": (["--model", "models/no-weights"], "no-weights", "safetensors"),
    "weights that do not fit": (["--model", "models/unfit"], "do not fit", "classifier.1.bias"),
    "a model that is adapted": (["--model", "models/adapted"], "24 px already", "made from"),
    "no network of ours": (["--model", "torchvision:resnext50"], "resnext50", "efficientnet_b0"),
    "a library's weights to be fetched": (
        ["--model", "torchvision:efficientnet_b0"],
        "--model: efficientnet_b0",
        "--download",
    ),
    "a library's network for other classes": (
        ["--model", "torchvision:efficientnet_b0=seven.pth", "--dataset", "digits"],
        "seven.pth",
        "--weights",
    ),
    "a library's network of ImageNet": (
        ["--model", "torchvision:efficientnet_b0=thousand.pth", "--dataset", "digits"],
        "1000 classes",
        "has 10",
    ),
    "other classes": (["--model", "models/named"], "'X'", "'7'"),
    "fewer classes": (["--model", "models/two"], "2 classes", "has 10"),
    "a run that is not there": (["--family", "nowhere"], "--family: nowhere", "no run directory"),
    "a run of another command": (["--family", "other"], "'search-augment'", "a run of scale"),
    "a run without a result": (["--family", "begun"], "no result yet", "orchestrator scale"),
    "a run with a damaged result": (["--family", "damaged"], "damaged result", "scale"),
    "a run without models": (["--family", "empty"], "no trained models", ""),
    "a side below the stride": ([*GOOD, "--test-resolutions", "16,3"], "3 px", "at least 4"),
    "a side that is none": ([*GOOD, "--test-resolutions", "16,big"], "'big'", "such as 96"),
    "no sides": ([*GOOD, "--test-resolutions", ","], "--test-resolutions", "names nothing"),
    "an empty side": ([*GOOD, "--test-resolutions", ""], "--test-resolutions", "empty"),
    "an unknown adaptation": ([*GOOD, "--adapt", "finetun"], "--adapt", "Did you mean 'finetune'?"),
    "training below the stride": ([*GOOD, "--train-resolution", "3"], "3 px", "at least 4"),
    "training higher": ([*GOOD, "--train-resolution", "16"], "--train-resolution", "not below"),
    "a model of an unknown data set": (["--model", "models/bare"], "--dataset", "name it"),
    "training an unknown recipe": (
        ["--model", "models/bare", "--dataset", "digits", "--train-resolution", "8"],
        "--train-resolution",
        "does not say",
    ),
    "seeds of a trained network": ([*GOOD, "--seeds", "3"], "--seeds", "--train-resolution"),
    "a misspelt setting": (
        [*GOOD, "--set", "finetune.epoch=3"],
        "finetune",
        "Did you mean 'epochs'?",
    ),
    "a setting with an option": ([*GOOD, "--set", "finetune.affine=true"], "affine", "--affine"),
    "a setting out of range": ([*GOOD, "--set", "finetune.lr=-1"], "finetune.lr", "positive"),
    "a mistyped setting": ([*GOOD, "--set", "finetune.epochs=many"], "epochs", "whole number"),
    "an unknown augmentation": ([*GOOD, "--set", "finetune.augmentation=v3"], "v3", "v1, v2"),
    "epochs in two places": (
        [*GOOD, "--epochs", "3", "--set", "finetune.epochs=3"],
        "epochs",
        "finetune.epochs",
    ),
    "another training": ([*GOOD, "--set", "train.epochs=3"], "train", ""),
    "another policy": ([*GOOD, "--set", "policy=trivialaugment"], "policy", "leave it out"),
    "a run directory of another command": ([*GOOD, "--run-dir", "other"], "belongs to", ""),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_it(call: Run, tmp_path: Path, mistake: str) -> None:
    commands = {"other": "search-augment", "begun": "scale", "damaged": "scale", "empty": "scale"}
    for name, command in commands.items():
        write_json(tmp_path / name / "run.json", {"version": 1, "command": command, "config": {}})
    write_json(RunDir(tmp_path / "damaged").result("scale"), {"results": [{"mean": 1}]})
    row = {"name": "B1", "keys": ["0123"]}
    write_json(RunDir(tmp_path / "empty").result("scale"), {"results": [row]})
    before = sorted(tmp_path.rglob("*"))
    arguments, named, hint = MISTAKES[mistake]
    code, out, err = call("fixres", "--dry-run", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert named in err
    assert hint in err
    assert sorted(tmp_path.rglob("*")) == before


def test_another_librarys_classes_are_taken_to_be_the_data_sets(
    models: Path, splits: Splits
) -> None:
    (own,) = find_networks(FixResStageConfig(model=str(models / "named"))).networks
    decoded = splits.train.decoded
    theirs = Found(networks=(replace(own, foreign=True),))
    renamed = as_the_set_calls_them(theirs, decoded)
    assert renamed.networks[0].recipe.class_names == decoded.class_names
    assert renamed.networks[0].digest == own.digest
    assert len(renamed.notes) == 1
    mine = Found(networks=(own,))
    assert as_the_set_calls_them(mine, decoded).networks[0].recipe == own.recipe


def test_explaining_prints_the_geometry_and_trains_nothing(call: Run, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    code, out, err = call("fixres", *GOOD, "--explain", "--json")
    assert (code, err) == (0, "")
    (one,) = json.loads(out)["geometry"]
    assert (one["train_resolution"], one["short_side"], one["total_stride"]) == (16, 16, 4)
    assert one["closed_form_ratio"] == one["sampled_ratio"] == 1.0
    assert [row["resolution"] for row in one["resolutions"]] == [12, 16, 20, 24]
    assert one["resolutions"][0]["map_sides"] == [6, 6, 3]
    code, out, _ = call("fixres", *GOOD, "--explain")
    assert code == 0
    assert "equally large at 16 px" in out
    assert sorted(tmp_path.rglob("*")) == before


def test_the_ratio_of_the_paper_stands_beside_that_of_the_images(splits: Splits) -> None:
    crops = AugmentConfig(crop="random-resized")
    train = TrainConfig(model=START.config.with_(resolution=224), augment=crops)
    network = Network(
        name="B0",
        runs=(SourceRun(train=train, weights="w"),),
        resolutions=(224, 288),
        tuning=FixResConfig(source=train, test_resolution=224),
    )
    decoded = splits.train.decoded
    decoded = replace(decoded, sizes=40 * decoded.sizes)  # crops of 8 px would be rounded much
    large = replace(splits.train, decoded=decoded)
    one = explained(network, replace(splits, train=large, selection=large))
    assert one["short_side"] == 256
    assert one["closed_form_ratio"] == pytest.approx(0.8094, abs=1e-4)
    assert one["sampled_ratio"] == pytest.approx(0.764, abs=0.01)  # digits are square
    assert one["equalising_resolution"] == pytest.approx(276.7, abs=0.1)
    assert one["sampled_equalising_resolution"] == pytest.approx(224 / 0.764, abs=4)
    larger = one["resolutions"][1]
    assert larger["closed_form_ratio"] == pytest.approx(0.8094 * 329 / 256, abs=1e-3)
    assert larger["pooled_side"] == 18


def planned(cache: Path, **options: Any) -> FixResPlan:
    config = FixResStageConfig(cache_dir=str(cache / "orchestrator"), **options)
    plan, _ = plan_for(*with_networks(config), watcher=Silent())
    return plan


def test_a_plan_follows_the_recipe_of_the_network(cache: Path, models: Path) -> None:
    plan = planned(cache, model=str(models / "good" / "recipe.json"), epochs=7)
    (network,) = plan.networks
    assert plan.adaptations == ADAPTATIONS
    assert network.resolutions == (12, 16, 20, 24)
    assert network.tuning.epochs == 7
    assert (network.tuning.flip, network.tuning.label_smoothing) == (False, 0.1)
    assert network.tuning.crop_fraction == 1.0
    assert plan.warnings == ()  # digits have 8 px: they are enlarged at any resolution


def test_training_lower_adds_seeds_at_the_own_resolution(cache: Path, models: Path) -> None:
    plan = planned(cache, model=str(models / "good"), train_resolution=8, seed=5)
    own, lower = plan.networks
    assert [(run.seed, run.weights is None) for run in own.runs] == [
        (0, False),
        (5, True),
        (6, True),
    ]
    assert [(run.seed, run.weights is None) for run in lower.runs] == [
        (0, True),
        (5, True),
        (6, True),
    ]
    assert (own.train_resolution, lower.train_resolution) == (16, 8)
    changed = lower.runs[0].train.with_(model=own.model)
    assert changed == own.runs[0].train  # other things are equal
    assert {8, 16} <= set(lower.resolutions)
    assert lower.lower_than == own.name == "tiny"


class Heard(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


def test_other_images_are_a_note_and_are_normalised_as_the_network_is_used_to(
    tmp_path: Path, cache: Path, models: Path, splits: Splits
) -> None:
    rng = random.Random(0)
    for name in "0123456789":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = bytes(rng.randrange(256) for _ in range(8 * 8 * 3))
            place = tmp_path / "photos" / name / f"{number}.png"
            Image.frombytes("RGB", (8, 8), pixels).save(place)
    config = FixResStageConfig(
        model=str(models / "good"), dataset=str(tmp_path / "photos"), cache_dir=str(cache)
    )
    heard = Heard()
    plan, images = plan_for(*with_networks(config), watcher=heard)
    assert any("not those that the network was trained on" in line for line in heard.said)
    assert images.train.statistics == splits.train.statistics
    assert plan.networks[0].runs[0].train.data.mean == splits.train.statistics.mean


def test_a_plan_that_the_disk_cannot_hold_is_refused(
    call: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def huge(plan: FixResPlan, rate: float | None) -> Cost:
        return Cost(
            trials=1, epochs=1, estimated_hours=None, estimated_gpu_hours=None, disk_bytes=10**18
        )

    monkeypatch.setattr(FixResPlan, "cost", huge)
    before = sorted(tmp_path.rglob("*"))
    code, out, err = call("fixres", *GOOD, "--run-dir", "new", "--runner", "inline")
    assert (code, out) == (NotReady.exit_code, "")
    assert "make room" in err
    assert sorted(tmp_path.rglob("*")) == before


def test_the_function_has_the_options_of_the_command(cache: Path, models: Path) -> None:
    options = {"model": str(models / "good"), "cache_dir": str(cache / "orchestrator")}
    result = api.fixres(explain=True, test_resolutions="16,32", **options)
    assert result.run_dir is None
    assert [row["resolution"] for row in result["geometry"][0]["resolutions"]] == [16, 32]
