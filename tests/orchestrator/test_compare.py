"""Two results side by side, from runs of the simulated learners."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import api
from orchestrator.__main__ import main
from orchestrator.comparing import COMPARABLE, compare, compare_lines
from orchestrator.errors import UsageError
from orchestrator.run_dir import RunDir, write_json
from orchestrator.runners.base import Job, Objectives
from orchestrator.stages.ablate.stage import Ablation
from orchestrator.stages.augment.stage import AugmentSearch
from orchestrator.stages.base import Stage
from orchestrator.stages.fixres.stage import ResolutionAdaptation
from orchestrator.stages.scale.plan import ReportingEvidence
from orchestrator.stages.scale.stage import FamilyTraining
from orchestrator.stages.scaling.stage import ScalingSearch
from orchestrator.trial import Report
from tests import (
    simulated_ablate,
    simulated_augment,
    simulated_fixres,
    simulated_scale,
    simulated_search,
)
from tests.controlled import carried_out
from tests.simulated_ablate import ablate_plan


def left(root: Path, stage: Stage, objectives: Objectives) -> str:
    """A run directory with the stage's result."""
    history = carried_out(root, stage, objectives)
    run_dir = RunDir(root / "run")
    write_json(run_dir.description, {"version": 1, "command": stage.name, "config": {}})
    write_json(run_dir.result(stage.name), stage.reduce(history))
    return str(run_dir.root)


def ablation(root: Path, *, gain: float = 0.0, **options: Any) -> str:
    """A run whose learner is better by so much on the rung with mixup."""

    def learn(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
        better = gain if "mixup" in str(job.spec.labels["tricks"]) else 0.0
        for report in simulated_ablate.learn(job, should_stop):
            yield {**report, "top1": report["top1"] + better}

    objectives = {**simulated_ablate.LEARNER, "train-model": learn}
    return left(root, Ablation(ablate_plan("label-smoothing,mixup", **options)), objectives)


def other_recipe(root: Path, *, gain: float = 0.0) -> str:
    """The same rungs trained with another batch: other trials of the same names."""
    plan = ablate_plan("label-smoothing,mixup")
    rungs = tuple(r.with_(train=r.train.with_(batch_size=64)) for r in plan.rungs)

    def learn(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
        better = gain if "mixup" in str(job.spec.labels["tricks"]) else 0.0
        for report in simulated_ablate.learn(job, should_stop):
            yield {**report, "top1": report["top1"] + better}

    objectives = {**simulated_ablate.LEARNER, "train-model": learn}
    changed = ablate_plan("label-smoothing,mixup", rungs=rungs)
    return left(root, Ablation(changed), objectives)


def test_differences_are_paired_over_the_shared_seeds(tmp_path: Path) -> None:
    a = ablation(tmp_path / "a")
    b = other_recipe(tmp_path / "b", gain=0.05)
    found = compare(a, b)
    rows = {row["name"]: row for row in found["both"]}
    assert list(rows) == ["base", "label-smoothing", "mixup"]
    assert rows["mixup"]["verdict"] == "B is better"
    assert rows["mixup"]["difference"]["mean"] == pytest.approx(0.05, abs=0.015)
    assert rows["mixup"]["difference"]["num_seeds"] == 3
    assert rows["base"]["verdict"] == "cannot tell"
    for row in rows.values():
        assert row["difference"]["adjusted_p_value"] >= row["difference"]["p_value"]
    back = {row["name"]: row for row in compare(b, a)["both"]}
    assert back["mixup"]["verdict"] == "B is worse"
    assert any("B is better in 1" in line for line in compare_lines(found))


def test_the_same_trials_are_called_the_same(tmp_path: Path) -> None:
    a, b = ablation(tmp_path / "a"), ablation(tmp_path / "b")
    assert {row["verdict"] for row in compare(a, b)["both"]} == {"the same"}


def test_what_only_one_of_them_has_stands_by_itself(tmp_path: Path) -> None:
    a = ablation(tmp_path / "a")
    b = left(tmp_path / "b", Ablation(ablate_plan("se,sk")), simulated_ablate.LEARNER)
    found = compare(a, b)
    assert [row["name"] for row in found["both"]] == ["base"]
    assert [row["name"] for row in found["only_a"]] == ["label-smoothing", "mixup"]
    assert [row["name"] for row in found["only_b"]] == ["se", "sk"]


def test_without_a_shared_seed_nothing_is_paired(tmp_path: Path) -> None:
    a = ablation(tmp_path / "a")
    b = left(
        tmp_path / "b",
        Ablation(ablate_plan("label-smoothing,mixup", seeds=3)),
        simulated_ablate.LEARNER,
    )
    result = RunDir(Path(b)).result("ablate")
    document = json.loads(result.read_text())
    for row in document["results"]:
        row["seeds"], row["keys"] = [7, 8, 9], []
    write_json(result, document)
    found = compare(a, b)
    assert {row["difference"] for row in found["both"]} == {None}
    assert "no seed in common" in found["both"][0]["sentence"]


def runs_of(stage: str, root: Path) -> str:
    """A run of that stage."""
    match stage:
        case "search-scaling":
            plan = simulated_search.search_plan()
            return left(root, ScalingSearch(plan), {"train": simulated_search.learn})
        case "search-augment":
            policies = simulated_augment.augment_plan()
            return left(root, AugmentSearch(policies), simulated_augment.LEARNER)
        case "scale":
            family = simulated_scale.scale_plan(phis="1")
            return left(root, FamilyTraining(family), simulated_scale.LEARNER)
        case "fixres":
            adapted = simulated_fixres.fixres_plan()
            return left(root, ResolutionAdaptation(adapted), simulated_fixres.LEARNER)
    return ablation(root)


@pytest.mark.parametrize("stage", COMPARABLE)
def test_every_stage_can_be_compared(tmp_path: Path, stage: str) -> None:
    run_dir = runs_of(stage, tmp_path)
    found = compare(run_dir, run_dir)
    assert found["stage"] == stage
    assert found["both"]
    for row in found["both"]:
        low, high = row["a"]["interval"]
        assert low <= row["a"]["mean"] <= high
    assert not found["only_a"]
    assert list(compare_lines(found))


def test_what_cannot_be_compared_is_refused_on_one_line(tmp_path: Path) -> None:
    a = ablation(tmp_path / "a")
    scale = runs_of("scale", tmp_path / "s")
    other = ReportingEvidence(fingerprint="g", train_images=9, num_images=50_000, chance=0.1)
    elsewhere = ablation(tmp_path / "e", evidence=other)
    unfinished = tmp_path / "unfinished"
    write_json(unfinished / "run.json", {"version": 1, "command": "ablate", "config": {}})
    damaged = tmp_path / "damaged"
    write_json(damaged / "run.json", {"version": 1, "command": "ablate", "config": {}})
    write_json(damaged / "ablate" / "result.json", {"results": [{"name": "x", "mean": 1}]})
    for b, said in (
        (scale, "is a run of ablate"),
        (elsewhere, "other images"),
        (str(unfinished), "has no result yet"),
        (str(tmp_path / "nowhere"), "is no run directory"),
        (str(damaged), "other images|damaged"),
    ):
        with pytest.raises(UsageError, match=said) as error:
            compare(a, b)
        assert "\n" not in str(error.value)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = ablation(tmp_path / "a")
    assert main(["compare", a, a, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == api.compare(a, a)
    assert main(["compare", a, a]) == 0
    assert "verdict" in capsys.readouterr().out
    assert main(["compare", a, "nowhere"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
