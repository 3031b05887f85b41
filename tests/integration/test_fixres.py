"""Resolution adaptations of real, tiny networks: whole runs, cut anywhere, and what they leave."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api import fixres, scale
from orchestrator.run_dir import RunDir
from tests.mirrorless import timeless, without_mirror
from tests.simulated_fixres import model_folder
from tests.trainer.factories import TINY_DATA
from tests.trainer.fixres.factories import changed
from trainer.data.batches import evaluation_batches
from trainer.data.cache import prepare
from trainer.data.splits import Splits, carve
from trainer.evaluate import evaluate
from trainer.portable.files import read_model
from trainer.seeding import own_threads


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def splits(cache: Path) -> Splits:
    return carve(prepare("digits", cache_root=cache), TINY_DATA)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, splits: Splits) -> Path:
    folder: Path = tmp_path_factory.mktemp("models") / "tiny"
    with own_threads(1):
        model_folder(folder, splits)
    return folder


@pytest.fixture(autouse=True)
def _no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    without_mirror(monkeypatch)


def inline(run_dir: Path, cache: Path, **options: Any) -> dict[str, Any]:
    """A run in this process, begun or gone on with."""
    values = {"test_resolutions": "16,24", "epochs": "2", **options}
    values["finetune"] = {"batch_size": "16", "lr": "0.05"}
    result = fixres(runner="inline", run_dir=str(run_dir), cache_dir=str(cache), **values)
    return result.to_json()


@pytest.mark.parametrize("adaptation", ["finetune", "parametric"])
def test_the_model_that_is_left_is_the_one_that_was_judged(
    tmp_path: Path, cache: Path, splits: Splits, model: Path, adaptation: str
) -> None:
    result = inline(tmp_path / "run", cache, model=str(model), adapt=adaptation)
    (row,), (entry,) = result["results"], result["models"]
    assert (row["adapt"], entry["adapt"]) == (adaptation, adaptation)
    left = read_model(tmp_path / "run" / entry["path"])
    assert left.recipe.preprocessing.resolution == row["test_resolution"]
    assert left.recipe.model.resolution == 16
    assert left.recipe.pooled_map == (adaptation == "parametric")
    assert left.recipe.scores["top1"] == row["after"]["values"][0]
    assert left.recipe.origin["adaptation"] == adaptation
    with own_threads(1):
        batches = evaluation_batches(
            splits.reporting,
            resolution=row["test_resolution"],
            batch_size=16,
            device="cpu",
            channels_last=True,
        )
        scores = evaluate(left.network(), batches, num_classes=10)
    assert scores.top1 == pytest.approx(row["after"]["mean"], abs=1 / 300)
    before = {name: tensor.clone() for name, tensor in read_model(model).weights.items()}
    touched = changed(before, dict(left.weights))
    if adaptation == "parametric":
        assert touched == {"avgpool.matching.scale", "avgpool.matching.shift"}
    else:
        assert {"classifier.1.weight", "classifier.1.bias"} <= touched
        assert all("classifier" in name or "running" in name or "num_b" in name for name in touched)


def test_a_run_whose_journal_was_cut_goes_on_to_the_same_end_without_its_model(
    tmp_path: Path, cache: Path, model: Path
) -> None:
    copied = tmp_path / "model"
    shutil.copytree(model, copied)
    options = {"model": str(copied), "train_resolution": "8", "seeds": "1"}
    whole = inline(tmp_path / "whole", cache, **options)
    assert whole["lower"][0]["saved"] is None  # nobody knows what its training took
    lines = RunDir(tmp_path / "whole").journal.read_bytes().splitlines(keepends=True)
    for place in random.Random(0).sample(range(len(lines) // 4, len(lines)), 2):
        root = tmp_path / f"cut-{place}"
        shutil.copytree(tmp_path / "whole", root)
        RunDir(root).journal.write_bytes(b"".join(lines[:place]))
        assert timeless(inline(root, cache, **options)) == timeless(whole)
    for folder in (tmp_path / "whole" / "fixres" / "trials").iterdir():
        (folder / "last.pt").unlink()  # all but the journal may go
    RunDir(tmp_path / "whole").result("fixres").unlink()
    assert timeless(inline(tmp_path / "whole", cache, **options)) == timeless(whole)
    sources = tmp_path / "whole" / "fixres" / "sources"
    (folder,) = sources.iterdir()
    assert (folder / "recipe.json").read_bytes() == (copied / "recipe.json").read_bytes()
    moved = tmp_path / "moved"
    copied.rename(moved)  # where the model lies is not what was asked
    again = inline(tmp_path / "whole", cache, **{**options, "model": str(moved)})
    assert timeless({**again, "source": None}) == timeless({**whole, "source": None})


def test_what_was_chosen_is_adapted_again_where_its_checkpoint_is_gone(
    tmp_path: Path, cache: Path, model: Path
) -> None:
    options = {"model": str(model), "adapt": "finetune"}
    whole = inline(tmp_path / "run", cache, **options)
    run_dir = RunDir(tmp_path / "run")
    lines = run_dir.journal.read_bytes().splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if b"reporting" in line)
    run_dir.journal.write_bytes(b"".join(lines[:first]))
    for checkpoint in run_dir.root.rglob("last.pt"):
        checkpoint.unlink()
    assert timeless(inline(run_dir.root, cache, **options)) == timeless(whole)


@pytest.mark.slow
def test_a_family_is_adapted_with_all_its_seeds_in_workers(tmp_path: Path, cache: Path) -> None:
    scale(
        coefficients="1,1,1.2",
        phi="1",
        epochs=1,
        seeds=2,
        runner="inline",
        run_dir=str(tmp_path / "family"),
        cache_dir=str(cache),
        train={"data": {"train_images": "100"}},
    )
    result = fixres(
        family=str(tmp_path / "family"),
        epochs=1,
        workers=2,
        run_dir=str(tmp_path / "run"),
        cache_dir=str(cache),
    )
    (row,) = result["results"]
    assert row["seeds"] == [0, 1]
    assert row["training_hours"] > 0
    assert (tmp_path / "run" / "fixres" / "models" / "B1" / "recipe.json").exists()
    document = json.loads((tmp_path / "run" / "fixres" / "result.json").read_text())
    assert document == result.to_json()
