"""Policy searches with real training: cut anywhere, killed, and gone on with."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator.api import search_augment
from orchestrator.journal import read_events
from orchestrator.run_dir import RunDir
from trainer.augment.files import policy_from_json

METHODS = ("autoaugment", "fast-autoaugment", "pba", "randaugment", "random")
TINY: dict[str, Any] = {
    "child": "wrn-10-0.25",
    "train_images": "60",
    "epochs": "3",
    "seeds": "1",
    "sub_policies": "2",
    "interval": "2",
    "folds": "2",
    "draws": "2",
    "keep": "2",
}
ARCHIVE = (
    Path(__file__).resolve().parents[3] / "shared" / "data" / "cifar10" / "cifar10-12k-png.tar.gz"
)


def timeless(document: dict[str, Any]) -> dict[str, Any]:
    """A result without what a clock said."""
    spent = [{k: v for k, v in row.items() if "hours" not in k} for row in document["spent"]]
    return {**document, "spent": spent}


def inline(run_dir: Path, cache: Path, **options: Any) -> dict[str, Any]:
    """A search in this process, begun or gone on with."""
    values = {**TINY, "trials": "4", **options}
    result = search_augment(runner="inline", run_dir=str(run_dir), cache_dir=str(cache), **values)
    return timeless(result.to_json())


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize("method", ["autoaugment", "fast-autoaugment", "pba"])
def test_a_search_whose_journal_was_cut_goes_on_from_its_checkpoints_to_the_same_end(
    tmp_path: Path, cache: Path, method: str
) -> None:
    whole = inline(tmp_path / "whole", cache, method=method)
    lines = RunDir(tmp_path / "whole").journal.read_bytes().splitlines(keepends=True)
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    place = random.Random(method).randrange(len(lines) // 4, len(lines))
    cut = RunDir(tmp_path / "cut")
    cut.journal.write_bytes(b"".join(lines[:place]))
    assert inline(cut.root, cache, method=method) == whole


def test_a_population_whose_checkpoints_are_gone_trains_the_lineages_again(
    tmp_path: Path, cache: Path
) -> None:
    whole = inline(tmp_path / "whole", cache, method="pba")
    run_dir = RunDir(tmp_path / "whole")
    lines = run_dir.journal.read_bytes().splitlines(keepends=True)
    last = next(n for n, line in enumerate(lines) if b'"generation":2' in line)
    run_dir.journal.write_bytes(b"".join(lines[:last]))
    for path in run_dir.stage("search-augment").rglob("*.pt"):
        path.unlink()
    assert inline(run_dir.root, cache, method="pba") == whole


def test_the_policy_the_pictures_and_the_report_lie_in_the_run(tmp_path: Path, cache: Path) -> None:
    found = inline(tmp_path / "run", cache, method="random", policy="cutout")
    run_dir = RunDir(tmp_path / "run")
    policy = policy_from_json(run_dir.policy("search-augment").read_text())
    assert policy.name == "random search"
    assert {row["name"] for row in found["arms"]} == {"random", "cutout", "trivialaugment", "none"}
    for name in ("policy.png", "arms.png"):
        with Image.open(run_dir.figures / name) as image:
            assert min(image.size) > 200
    report = run_dir.report.read_text()
    assert found["verdict"]["sentence"] in report
    assert "figures/policy.png" in report


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty training and ten test images of each CIFAR-10 class."""
    if not ARCHIVE.exists():
        pytest.skip("shared/data/cifar10 is not beside the repository")
    root = tmp_path_factory.mktemp("photographs")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(root, filter="data")
    for folder in (root / "cifar10").glob("*/*"):
        keep = 30 if folder.parent.name == "train" else 10
        for path in sorted(folder.iterdir())[keep:]:
            path.unlink()
    return root / "cifar10"


def start(run_dir: Path, photographs: Path, method: str) -> subprocess.Popen[bytes]:
    """The command as users type it, on two Ray workers."""
    options = {**TINY, "trials": "6", "epochs": "4"}
    rare = ("interval", "folds", "draws", "keep")
    words = [f"--{name.replace('_', '-')}={options[name]}" for name in options if name not in rare]
    sets = [word for name in rare for word in ("--set", f"{name}={options[name]}")]
    with _errors(run_dir).open("ab") as errors:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "orchestrator", "search-augment", "--method", method),
                *("--dataset", str(photographs), "--run-dir", str(run_dir), "--workers", "2"),
                *words,
                *sets,
            ],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, "MLFLOW_TRACKING_URI": ""},
            cwd=run_dir.parent,
        )


def _errors(run_dir: Path) -> Path:
    return run_dir.with_name(f"{run_dir.name}.err")


def finished(run_dir: Path, photographs: Path, method: str) -> dict[str, Any]:
    """The result of a run that is left alone."""
    process = start(run_dir, photographs, method)
    assert process.wait(timeout=600) == 0, _errors(run_dir).read_text()[-2000:]
    document: dict[str, Any] = json.loads(RunDir(run_dir).result("search-augment").read_text())
    return timeless(document)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_search_killed_twice_on_real_images_comes_to_the_same_verdict(
    tmp_path: Path, photographs: Path, method: str
) -> None:
    whole = finished(tmp_path / "whole", photographs, method)
    journal = RunDir(tmp_path / "whole").journal
    keys = {event["key"] for event, _ in read_events(journal)[0] if event["event"] == "finished"}
    disturbed = RunDir(tmp_path / "disturbed")
    for reports in (5, 14):
        process = start(disturbed.root, photographs, method)
        _wait_for(disturbed, reports, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert finished(disturbed.root, photographs, method) == whole
    ends = [e["key"] for e, _ in read_events(disturbed.journal)[0] if e["event"] == "finished"]
    assert sorted(ends) == sorted(keys)  # nothing lost, nothing twice


def _wait_for(run_dir: RunDir, reports: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        events = read_events(run_dir.journal)[0]
        if sum(event["event"] == "report" for event, _ in events) >= reports:
            return
        time.sleep(0.1)
    raise AssertionError("the search ended, or said nothing")
