"""A family trained in earnest, from weights, cut anywhere: it goes on to the same end."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.api import scale
from orchestrator.run_dir import RunDir
from tests.mirrorless import timeless, without_mirror
from tests.orchestrator.test_scale_weights import a_model
from trainer.portable.files import read_model


@pytest.fixture(autouse=True)
def _no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    without_mirror(monkeypatch)


def inline(root: Path, cache: Path, model: Path) -> dict[str, Any]:
    """Two seeds from weights and two from nothing, two epochs each."""
    result = scale(
        weights=str(model),
        freeze="stem",
        seeds=2,
        epochs=2,
        runner="inline",
        run_dir=str(root),
        cache_dir=str(cache),
        train={"data": {"train_images": "64"}, "batch_size": "16"},
    )
    return result.to_json()


def models_of(root: Path, result: dict[str, Any]) -> list[dict[str, torch.Tensor]]:
    return [dict(read_model(root / entry["path"]).weights) for entry in result["models"]]


def test_a_family_cut_anywhere_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    cache, model = tmp_path / "cache", a_model(tmp_path / "m", classes=("x", "y"))
    whole = inline(tmp_path / "whole", cache, model)
    trained = models_of(tmp_path / "whole", whole)
    lines = RunDir(tmp_path / "whole").journal.read_bytes().splitlines(keepends=True)
    for place in random.Random(1).sample(range(len(lines) // 4, len(lines)), 3):
        root = tmp_path / f"cut-{place}"
        shutil.copytree(tmp_path / "whole", root)
        RunDir(root).journal.write_bytes(b"".join(lines[:place]))
        for folder in root.rglob("model"):
            if f'"finished","key":"{folder.parent.name}"'.encode() not in b"".join(lines[:place]):
                shutil.rmtree(folder)
        for weights in (root / "weights").iterdir():
            weights.unlink()
        again = inline(root, cache, model)
        assert timeless(again) == timeless(whole)
        for found, wanted in zip(models_of(root, again), trained, strict=True):
            assert found.keys() == wanted.keys()
            assert all(torch.equal(found[name], wanted[name]) for name in wanted)
