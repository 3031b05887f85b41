"""Two results side by side, from runs of the simulated learners."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import api
from orchestrator.__main__ import main
from orchestrator.ablation.ladders import Rung
from orchestrator.comparison.compare import COMPARABLE, compare
from orchestrator.comparison.tables import compare_lines
from orchestrator.config.ablate import AblateConfig
from orchestrator.errors import UsageError
from orchestrator.journal import open_journal
from orchestrator.reporting.formats import magnitude
from orchestrator.run_dir import RunDir, write_json
from orchestrator.runners.base import Job, Objectives
from orchestrator.selection.verdict import paired_difference
from orchestrator.stages.ablate.stage import Ablation
from orchestrator.stages.augment.stage import AugmentSearch
from orchestrator.stages.base import Stage
from orchestrator.stages.evidence import ReportingEvidence
from orchestrator.stages.fixres.stage import ResolutionAdaptation
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
from tests.simulated_ablate import START, ablate_plan
from trainer.config import DataConfig, TrainConfig


def left(root: Path, stage: Stage, objectives: Objectives) -> str:
    """A run directory with the stage's result."""
    history = carried_out(root, stage, objectives)
    run_dir = RunDir(root / "run")
    write_json(run_dir.description, {"version": 1, "command": stage.name, "config": {}})
    write_json(run_dir.result(stage.name), stage.reduce(history))
    return str(run_dir.root)


def learner(gain: float) -> Objectives:
    """Better by so much on the rung with mixup."""

    def learn(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
        better = gain if "mixup" in str(job.spec.labels["tricks"]) else 0.0
        for report in simulated_ablate.learn(job, should_stop):
            yield {**report, "top1": report["top1"] + better}

    return {**simulated_ablate.LEARNER, "train-model": learn}


def ablation(root: Path, *, gain: float = 0.0, **options: Any) -> str:
    """A run of a small ladder."""
    return left(root, Ablation(ablate_plan("label-smoothing,mixup", **options)), learner(gain))


def other_recipe(
    root: Path,
    *,
    gain: float = 0.0,
    only: str | None = None,
    changes: Mapping[str, Any] | None = None,
    **options: Any,
) -> str:
    """The same rungs, or one of them, trained with another batch or other changes."""
    rungs = tuple(
        rung.with_(train=rung.train.with_(**(changes or {"batch_size": 64})))
        if only in (None, rung.name)
        else rung
        for rung in ablate_plan("label-smoothing,mixup").rungs
    )
    return ablation(root, gain=gain, rungs=rungs, **options)


def by_name(found: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What both have."""
    return {row["name"]: row for row in found["both"]}


def of_seeds(root: Path, *seeds: int) -> str:
    """The same ladder with these seeds."""
    plan = replace(ablate_plan("label-smoothing,mixup"), seeds=seeds)
    return left(root, Ablation(plan), simulated_ablate.LEARNER)


def asked(run_dir: str, question: dict[str, Any]) -> None:
    """Journal what the run was asked."""
    with open_journal(RunDir(Path(run_dir))) as (journal, _):
        journal.append([{"event": "stage", "stage": "ablate", "question": question, "plan": {}}])


def rewritten(run_dir: str, change: Callable[[dict[str, Any]], None]) -> str:
    """The run with something else in its result."""
    result = RunDir(Path(run_dir)).result("ablate")
    document = json.loads(result.read_text())
    change(document)
    write_json(result, document)
    return run_dir


def test_differences_are_paired_over_the_shared_seeds(tmp_path: Path) -> None:
    a = ablation(tmp_path / "a")
    b = other_recipe(tmp_path / "b", gain=0.05)
    found = compare(a, b)
    rows = by_name(found)
    assert list(rows) == ["base", "label-smoothing", "mixup"]
    assert rows["mixup"]["verdict"] == "B is better"
    assert rows["mixup"]["difference"]["mean"] == pytest.approx(0.05, abs=0.015)
    assert rows["mixup"]["difference"]["num_seeds"] == 3
    assert rows["base"]["verdict"] == "cannot tell"
    for row in rows.values():
        assert row["difference"]["adjusted_p_value"] >= row["difference"]["p_value"]
    back = by_name(compare(b, a))
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
    found = compare(other_recipe(tmp_path / "a"), of_seeds(tmp_path / "b", 7, 8, 9))
    assert {row["difference"] for row in found["both"]} == {None}
    assert "no seed in common" in found["both"][0]["sentence"]
    assert "batch_size 128 instead of 64" in found["both"][0]["sentence"]


def test_one_configuration_is_the_same_whatever_its_seeds(tmp_path: Path) -> None:
    a = ablation(tmp_path / "a")
    more, others = of_seeds(tmp_path / "more", *range(5)), of_seeds(tmp_path / "others", 7, 8)
    for b, said in (
        (more, "the same training in both, with 3 seeds in A and 5 in B"),
        (others, "the same configuration in both, with other seeds: 3 seeds in A and 2 in B"),
    ):
        found = compare(a, b)
        assert {row["verdict"] for row in found["both"]} == {"the same"}
        assert {row["difference"] for row in found["both"]} == {None}
        assert all(said in row["sentence"] for row in found["both"])


def test_a_rung_of_one_name_and_other_tricks_says_so(tmp_path: Path) -> None:
    a = ablation(tmp_path / "a")
    b = ablation(tmp_path / "b", design="add-one")
    found = compare(a, b)
    rows = by_name(found)
    assert rows["base"]["verdict"] == rows["label-smoothing"]["verdict"] == "the same"
    assert rows["base"]["changed"] == []
    assert rows["mixup"]["changed"] == [
        "tricks without label-smoothing",
        "label_smoothing 0.0 instead of 0.1",
    ]
    assert "mixup (in B: tricks without label-smoothing; label" in rows["mixup"]["sentence"]
    back = by_name(compare(b, a))["mixup"]["changed"]
    assert back[0] == "tricks with label-smoothing"
    text = "\n".join(compare_lines(found))
    assert "  changed  " in text
    assert rows["mixup"]["sentence"] in text


def test_what_the_runs_were_asked_otherwise_stands_above(tmp_path: Path) -> None:
    a, b = ablation(tmp_path / "a"), ablation(tmp_path / "b", design="add-one")
    common = {"dataset": "here", "fingerprint": "f", "epochs": 4, "train": {}}
    asked(a, {**common, "seeds": None, "design": "cumulative"})
    changed = {"seeds": 5, "design": "add-one", "train": {"optim": {"lr": 0.2}}}
    asked(b, {**common, **changed, "dataset": "there"})
    found = compare(a, b)
    assert found["asked"] == [
        'train.optim {"lr": 0.2} instead of the default',
        "seeds 5 instead of the default",
        "design add-one instead of cumulative",
    ]
    assert f"asked      in B: {'; '.join(found['asked'])}" in list(compare_lines(found))
    assert compare(a, a)["asked"] == []


def test_every_setting_of_a_training_is_compared(tmp_path: Path) -> None:
    a = ablation(tmp_path / "a")
    optim = START.optim.with_(lr=0.05, momentum=0.8, weight_decay=0.0, fixed_lr=True)
    data = DataConfig(evaluate_on="reporting", dataset="elsewhere")
    b = other_recipe(
        tmp_path / "b",
        changes={"epochs": 2, "optim": optim, "data": data, "batch_size": 64, "ema_decay": 0.9},
    )
    row = by_name(compare(a, b))["base"]
    assert row["changed"] == [
        "epochs 2 instead of 4",
        "optim.lr 0.05 instead of 0.1",
        "optim.fixed_lr true instead of false",
        "optim.momentum 0.8 instead of 0.9",
        "optim.weight_decay 0.0 instead of 0.0001",
        "batch_size 64 instead of 128",
        "ema_decay 0.9 instead of 0.0",
    ]
    assert "weight_decay 0.0 instead of 0.0001 and 2 more): " in row["sentence"]


def test_where_the_result_does_not_tell_a_recipe_the_journal_does(tmp_path: Path) -> None:
    a = rewritten(ablation(tmp_path / "a"), lambda found: found.pop("train"))
    b = other_recipe(tmp_path / "b")
    assert by_name(compare(a, b))["base"]["changed"] == ["batch_size 64 instead of 128"]


def test_where_nothing_tells_a_recipe_the_network_is_compared(tmp_path: Path) -> None:
    def forget(document: dict[str, Any]) -> None:
        document["train"] = {"base": {"of": "another version"}}
        for row in document["results"]:
            row["keys"] = []

    a = rewritten(ablation(tmp_path / "a"), forget)
    b = other_recipe(tmp_path / "b", changes={"epochs": 2, "ema_decay": 0.9})
    assert by_name(compare(a, b))["base"]["changed"] == ["epochs 2 instead of 4"]


def test_only_real_comparisons_count_and_every_trial_counts_once(tmp_path: Path) -> None:
    a = ablation(tmp_path / "a")
    b = other_recipe(tmp_path / "b", only="mixup", gain=0.01)
    rows = by_name(compare(a, b))
    assert [row["verdict"] for row in rows.values()][:2] == ["the same", "the same"]
    values = {
        f"{side} {row['name']}": dict(zip(row[part]["seeds"], row[part]["values"], strict=True))
        for row in rows.values()
        for side, part in (("A", "a"), ("B", "b"))
        if side == "A" or row["name"] == "mixup"
    }
    once = paired_difference(values, "B mixup", "A mixup", num_images=50_000)
    found = rows["mixup"]["difference"]
    assert found == {**once.to_json(), "adjusted_p_value": once.p_value}


def test_a_trial_of_both_counts_once_beside_seeds_that_only_one_has(tmp_path: Path) -> None:
    a = ablation(tmp_path / "a")
    b = other_recipe(tmp_path / "b", only="mixup", seeds=5)
    ours, theirs = by_name(compare(a, b)), by_name(compare(b, b))
    values = {
        name: dict(zip(row["seeds"], row["values"], strict=True))
        for name, row in {
            "base": theirs["base"]["a"],
            "label-smoothing": theirs["label-smoothing"]["a"],
            "A mixup": ours["mixup"]["a"],
            "B mixup": ours["mixup"]["b"],
        }.items()
    }
    once = paired_difference(values, "B mixup", "A mixup", num_images=50_000)
    assert ours["mixup"]["difference"]["p_value"] == pytest.approx(once.p_value)
    assert ours["mixup"]["difference"]["num_seeds"] == 3


def test_two_names_of_one_training_are_one_comparison(tmp_path: Path) -> None:
    def twice(*changed: str) -> tuple[Rung, ...]:
        base, *_ = ablate_plan("label-smoothing").rungs
        other = base.with_(train=base.train.with_(batch_size=64)) if changed else base
        return other, other.with_(name="again", over="base")

    a = ablation(tmp_path / "a", rungs=twice())
    b = ablation(tmp_path / "b", rungs=twice("batch"))
    rows = by_name(compare(a, b))
    assert list(rows) == ["base", "again"]
    for name, row in rows.items():
        assert row["difference"]["adjusted_p_value"] == row["difference"]["p_value"]
        assert row["difference"]["first"] == f"B {name}"


def test_a_difference_that_rounds_to_nothing_has_no_minus(tmp_path: Path) -> None:
    def steady(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
        assert isinstance(job.spec.config, TrainConfig)
        top1 = 0.7 - (1e-6 if job.spec.config.batch_size == 64 else 0.0)
        for epoch in range(1, job.spec.config.epochs + 1):
            yield {"epoch": epoch, "top1": top1, "seconds": 1.0, "images_per_second": 1.0}

    objectives = {**simulated_ablate.LEARNER, "train-model": steady}
    plan = ablate_plan("mixup")
    small = tuple(r.with_(train=r.train.with_(batch_size=64)) for r in plan.rungs)
    a = left(tmp_path / "a", Ablation(plan), objectives)
    b = left(tmp_path / "b", Ablation(replace(plan, rungs=small)), objectives)
    found = compare(a, b)
    assert by_name(found)["base"]["difference"]["mean"] == pytest.approx(-1e-6)
    text = "\n".join(compare_lines(found))
    assert "+0.00 points" in text
    assert "-0.00" not in text


def test_with_one_seed_the_interval_is_said_to_be_of_the_images(tmp_path: Path) -> None:
    alone = compare(ablation(tmp_path / "a", seeds=1), other_recipe(tmp_path / "b", seeds=1))
    assert all("95 % interval, of the images alone, -" in r["sentence"] for r in alone["both"])
    three = compare(ablation(tmp_path / "c"), other_recipe(tmp_path / "d"))
    assert not any("of the images alone" in row["sentence"] for row in three["both"])


def test_the_tables_show_what_a_network_costs(tmp_path: Path) -> None:
    a = ablation(tmp_path / "a")
    b = left(tmp_path / "b", Ablation(ablate_plan("se,sk")), simulated_ablate.LEARNER)
    small = ablate_plan("mixup").rungs[0].train
    larger = small.with_(model=small.model.with_(resolution=64))
    c = other_recipe(tmp_path / "c", changes={"model": larger.model})
    found = compare(a, b)
    for row in (found["both"][0]["a"], *found["only_a"], *found["only_b"]):
        assert row["macs"] > 0
    headers = [line for line in compare_lines(found) if line.startswith("name")]
    assert len(headers) == 3
    assert all("MACs" in header for header in headers)
    found = compare(a, c)
    costs = [magnitude(by_name(found)["base"][side]["macs"]) for side in ("a", "b")]
    assert any(" / ".join(costs) in line for line in compare_lines(found))


def test_without_a_shared_name_both_are_listed(tmp_path: Path) -> None:
    def renamed(document: dict[str, Any]) -> None:
        row = document["results"][0]
        document["results"] = [{**row, "name": f"other {number}"} for number in range(8)]

    a, b = ablation(tmp_path / "a"), rewritten(ablation(tmp_path / "b"), renamed)
    with pytest.raises(UsageError, match="no trained network of one name") as error:
        compare(a, b)
    assert "A has base, label-smoothing, mixup; B has other 0, other 1," in str(error.value)
    assert str(error.value).endswith("other 4 and 3 more")


def test_what_has_no_result_is_finished_by_its_own_command_line(tmp_path: Path) -> None:
    a = ablation(tmp_path / "a")
    config = AblateConfig(tricks="label-smoothing,sk", epochs=7).to_json()
    run_dir = RunDir(tmp_path / "of two words")
    write_json(run_dir.description, {"version": 1, "command": "ablate", "config": config})
    own = f"ablate --run-dir '{run_dir.root}' --epochs 7 --tricks label-smoothing,sk"
    with pytest.raises(UsageError, match=f"finish it with: orchestrator {own}$"):
        compare(a, str(run_dir.root))
    write_json(run_dir.result("ablate"), {"results": [{"name": "x", "mean": 1}]})
    with pytest.raises(UsageError, match=f"write it anew with: orchestrator {own}$") as error:
        compare(str(run_dir.root), a)
    assert str(error.value).startswith(f"RUN_A: {run_dir.root} has a damaged result")


@pytest.mark.parametrize(
    "damage",
    [
        {"values": [2.0, 0.5, 0.5]},
        {"values": [0.5]},
        {"interval": "wide"},
        {"macs": "many"},
        {"keys": [["no key"]]},
        {"tricks": 3},
    ],
    ids=lambda damage: next(iter(damage)),
)
def test_a_damaged_row_is_refused_on_one_line(tmp_path: Path, damage: dict[str, Any]) -> None:
    a = ablation(tmp_path / "a")
    b = rewritten(ablation(tmp_path / "b"), lambda found: found["results"][0].update(damage))
    with pytest.raises(UsageError, match=r"^RUN_B: .* has a damaged result") as error:
        compare(a, b)
    assert "\n" not in str(error.value)


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
    assert {row["verdict"] for row in found["both"]} == {"the same"}
    controls = {"control: published triple", "control: uniform scaling"}
    assert (controls <= by_name(found).keys()) == (stage == "search-scaling")
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
        (str(damaged), "has a damaged result"),
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
