"""The stage against simulated networks: real controller, journal and statistics, no training."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator.cli.options import COMMON, OPTIONS
from orchestrator.config.common import CommonConfig
from orchestrator.config.fixres import FixResStageConfig, parse_sides
from orchestrator.errors import StageFailed
from orchestrator.history import History
from orchestrator.loading import decode_spec
from orchestrator.objectives.resolution_trials import AdaptConfig, SweepConfig
from orchestrator.reporting.continuing import command_line
from orchestrator.reporting.figure_rows import resolution_charts
from orchestrator.reporting.fixres_tables import fixres_lines
from orchestrator.reporting.report import write_report
from orchestrator.run_dir import RunDir, write_json
from orchestrator.runners.base import Job, Objectives
from orchestrator.stages.fixres.choice import best_of, finetune_sides
from orchestrator.stages.fixres.comparing import images_to_tell
from orchestrator.stages.fixres.geometry import usual_sides
from orchestrator.stages.fixres.plan import STAGE, FixResPlan
from orchestrator.stages.fixres.result import document
from orchestrator.stages.fixres.stage import ResolutionAdaptation
from orchestrator.trial import Report
from tests.controlled import carried_out
from tests.simulated_fixres import (
    EPOCHS,
    IMAGES,
    LEARNER,
    SIDES,
    adapt,
    fixres_plan,
    simulated_network,
    sweep,
)
from trainer.config import AugmentConfig, TrainConfig


def run(root: Path, plan: FixResPlan, *, objectives: Objectives = LEARNER) -> History:
    """To the end, or on from where the journal stands."""
    return carried_out(root, ResolutionAdaptation(plan), objectives)


def sweeps(history: History) -> list[SweepConfig]:
    specs = [decode_spec(trial.proposal) for trial in history.trials()]
    return [spec.config for spec in specs if isinstance(spec.config, SweepConfig)]


def adaptations(history: History) -> set[tuple[str, int]]:
    specs = [decode_spec(trial.proposal) for trial in history.trials()]
    return {
        (spec.config.adaptation.adaptation, spec.config.adaptation.test_resolution)
        for spec in specs
        if isinstance(spec.config, AdaptConfig)
    }


def test_every_seed_is_swept_adapted_and_reported(tmp_path: Path) -> None:
    plan = fixres_plan()
    history = run(tmp_path, plan)
    result = document(plan, history)
    assert [(row["test_resolution"], len(row["seeds"])) for row in result["sweep"]] == [
        (side, 3) for side in SIDES
    ]
    tried = {adaptation: [] for adaptation in ("parametric", "statistics", "finetune")}
    for row in result["tried"]:
        tried[row["adapt"]].append(row["test_resolution"])
    assert tried == {
        "parametric": [side for side in SIDES if side != 64],  # nothing to match there
        "statistics": list(SIDES),
        "finetune": [64, 80, 96],  # around 80, the best of the sweep
    }
    (row,) = result["results"]
    assert (row["adapt"], row["test_resolution"]) == ("finetune", 80)
    assert row["difference"]["mean"] == pytest.approx(0.04, abs=0.01)
    assert "B1, fine-tuned at 80 px, is better than unadapted at 64 px" in row["sentence"]
    assert len(list(history.trials())) == plan.cost(None).trials
    assert result["plan"]["estimated_hours"] is not None


def test_only_what_was_chosen_is_looked_at_on_the_reporting_split(tmp_path: Path) -> None:
    plan = fixres_plan()
    history = run(tmp_path, plan)
    reported = [config for config in sweeps(history) if config.evaluate_on == "reporting"]
    looks = [(config.adapted is not None, config.resolutions) for config in reported]
    assert sorted(looks) == [(False, (64,))] * 3 + [(True, (80,))] * 3
    adapting = [spec for t in history.trials() if (spec := decode_spec(t.proposal))]
    assert {
        spec.config.adaptation.evaluate_on
        for spec in adapting
        if isinstance(spec.config, AdaptConfig)
    } == {"selection"}


def test_what_the_reporting_split_says_chooses_nothing(tmp_path: Path) -> None:
    def upside_down(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
        assert isinstance(job.spec.config, SweepConfig)
        for report in sweep(job, should_stop):
            reporting = job.spec.config.evaluate_on == "reporting"
            adapted = job.spec.config.adapted is not None
            worse = {"top1": 0.2, "correct": ""} if reporting and adapted else {}
            yield {**report, **worse}

    plan = fixres_plan()
    result = document(
        plan, run(tmp_path, plan, objectives={**LEARNER, "fixres-sweep": upside_down})
    )
    (row,) = result["results"]
    assert (row["adapt"], row["test_resolution"]) == ("finetune", 80)
    assert "is worse than unadapted at 64 px" in row["sentence"]


@pytest.mark.parametrize(
    ("trained_at", "expected"), [(40, (48, 64, 80)), (64, (64, 80, 96)), (112, (80, 96, 112))]
)
def test_fine_tuning_stands_around_the_best_of_the_sweep(
    tmp_path: Path, trained_at: int, expected: tuple[int, ...]
) -> None:
    network = simulated_network(trained_at=trained_at)
    plan = fixres_plan(network, adaptations=("none",))
    history = run(tmp_path, plan)
    assert finetune_sides(plan, network, history) == expected
    assert finetune_sides(replace(plan, finetune_at="all"), network, history) == SIDES
    assert finetune_sides(replace(plan, finetune_at=(48, 50)), network, history) == (48,)


def test_of_equals_the_smaller_change_and_the_fewer_pixels_win() -> None:
    reports: dict[int, Report] = {0: {"top1": 0.7}}
    found = {("finetune", 64): reports, ("none", 96): reports, ("none", 80): reports}
    choice = best_of(found, ("none", "finetune"), seeds=1, allowed=SIDES)  # type: ignore[arg-type]
    assert choice is not None
    assert (choice.adaptation, choice.resolution) == ("none", 80)
    missing = best_of(found, ("none",), seeds=2, allowed=SIDES)  # type: ignore[arg-type]
    assert missing is None


def test_a_run_cut_anywhere_goes_on_to_the_same_end(tmp_path: Path) -> None:
    plan = fixres_plan(simulated_network(seeds=(0, 1)))
    whole = run(tmp_path / "whole", plan)
    lines = RunDir(tmp_path / "whole" / "run").journal.read_bytes().splitlines(keepends=True)
    for number in random.Random(0).sample(range(1, len(lines)), 6):
        root = tmp_path / f"cut-{number}"
        (root / "run").mkdir(parents=True)
        RunDir(root / "run").journal.write_bytes(b"".join(lines[:number]))
        resumed = run(root, plan)
        assert {t.key for t in resumed.trials()} == {t.key for t in whole.trials()}
        assert untimed(document(plan, resumed)) == untimed(document(plan, whole))


def untimed(result: dict[str, Any]) -> dict[str, Any]:
    return {**result, "plan": {**result["plan"], "estimated_hours": None}}


def test_a_finished_run_wants_nothing_more(tmp_path: Path) -> None:
    plan = fixres_plan()
    history = run(tmp_path, plan)
    assert ResolutionAdaptation(plan).propose(history, count=9, seed=0) == []


def test_one_trained_network_is_judged_by_its_answers_image_by_image(tmp_path: Path) -> None:
    plan = fixres_plan(simulated_network(seeds=(0,)))
    result = document(plan, run(tmp_path, plan))
    (row,) = result["results"]
    low, high = row["difference"]["interval"]
    assert 0 < low < 0.04 < high < 0.06
    assert "one seed: of this trained network" in row["sentence"]
    unpaired = (0.74 * 0.26 + 0.7 * 0.3) / IMAGES
    assert row["difference"]["sampling_variance"] < 0.5 * unpaired


def test_a_network_that_nothing_helps_is_left_as_it_is(tmp_path: Path) -> None:
    plan = fixres_plan(simulated_network(trained_at=96, sides=(48, 64, 96)), adaptations=("none",))
    result = document(plan, run(tmp_path, plan))
    (row,) = result["results"]
    assert row["difference"] is None
    assert "is best left as it is" in result["verdict"]["sentence"]
    assert row["before"] == row["after"]


def test_too_few_images_are_said_to_be(tmp_path: Path) -> None:
    network = simulated_network(seeds=(0,), trained_at=80, sides=(80, 96))
    plan = fixres_plan(network, adaptations=("none",))
    (row,) = document(plan, run(tmp_path, plan))["results"]
    assert row["difference"]["mean"] == pytest.approx(0.014, abs=0.01)
    difference = {**row["difference"], "mean": 0.001}
    assert images_to_tell(difference, IMAGES) > 10 * IMAGES  # type: ignore[operator]
    assert images_to_tell({**difference, "mean": 0.0}, IMAGES) is None


def lowered() -> FixResPlan:
    own = simulated_network(trained_at=96, sides=(80, 96, 112))
    lower = simulated_network(
        "B1 at 64 px",
        trained_at=64,
        sides=(64, 80, 96),
        given=False,
        lower_than="B1",
    )
    again = replace(own.runs[2], weights=None)  # a seed that nobody gave
    timed = [run.with_(seconds=1e6) for run in own.runs[:2]]
    return fixres_plan(own.with_(runs=(*timed, again)), lower)


def test_training_lower_is_compared_with_training_at_the_own_resolution(tmp_path: Path) -> None:
    plan = lowered()
    history = run(tmp_path, plan)
    result = document(plan, history)
    trained = [t.labels for t in history.trials() if t.proposal["objective"] == "train-model"]
    assert sorted((labels["train_resolution"], labels["seed"]) for labels in trained) == [
        (64, 0),
        (64, 1),
        (64, 2),
        (96, 2),
    ]
    (row,) = result["lower"]
    assert row["hours"] == pytest.approx((EPOCHS * 64**2 / 100 + 6) / 3600)
    assert row["base_hours"] == pytest.approx(EPOCHS * 96**2 / 100 / 3600)  # timed in this run
    assert row["saved"] == pytest.approx(1 - row["hours"] / row["base_hours"])
    assert row["difference"]["num_seeds"] == 3
    assert row["search_hours"] > 0
    assert "B1 trained at 64 px, fine-tuned at 80 px, is better than" in row["sentence"]
    assert "It saves 53 % of the training and is more accurate" in row["sentence"]
    assert row["sentence"] in result["verdict"]["sentence"]


def failing(*names: str) -> Objectives:
    def objective(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
        if job.spec.labels["name"] in names:
            raise FloatingPointError("the loss became nan")
        yield from (adapt if job.spec.objective == "fixres" else sweep)(job, should_stop)

    return {**LEARNER, "fixres": objective, "fixres-sweep": objective}


def test_an_adaptation_that_fails_leaves_the_others_standing(tmp_path: Path) -> None:
    plan = fixres_plan()
    result = document(plan, run(tmp_path, plan, objectives=failing("B1 finetune 80 px")))
    (row,) = result["results"]
    assert (row["adapt"], row["test_resolution"]) == ("finetune", 64)
    assert "the loss became nan" in row["error"]
    assert any("the loss became nan" in line for line in fixres_lines(result))


def test_a_network_that_cannot_be_swept_leaves_the_others_standing(tmp_path: Path) -> None:
    plan = fixres_plan(simulated_network("B1"), simulated_network("B2"))
    result = document(plan, run(tmp_path, plan, objectives=failing("B1 sweep")))
    first, second = result["results"]
    assert first["after"] is None
    assert "the loss became nan" in first["sentence"]
    assert second["difference"]["adjusted_p_value"] == second["difference"]["p_value"]
    assert result["verdict"]["sentence"] == "With what was chosen: better in 1 of 2 networks."
    assert [model["name"] for model in result["models"]] == ["B2"]


def test_when_nothing_is_left_it_says_why(tmp_path: Path) -> None:
    plan = fixres_plan()
    history = run(tmp_path, plan, objectives=failing("B1 sweep"))
    with pytest.raises(StageFailed, match="the loss became nan"):
        document(plan, history)


def test_where_files_lie_enters_no_key_and_what_they_hold_does() -> None:
    plan = fixres_plan()
    (network,) = plan.networks
    run = network.runs[0]
    moved = run.with_(train=run.train.with_(data=run.train.data.with_(dataset="/elsewhere")))
    other = run.with_(weights="others")

    def keys(source: Any) -> list[str]:
        fresh = replace(plan)  # specifications are remembered by seed
        return [
            fresh.sweep(network, source).key,
            fresh.adapting(network, source, "finetune", 80).key,
            fresh.reporting(network, source, "finetune", 80).key,
        ]

    assert keys(moved) == keys(run)
    assert not set(keys(other)) & set(keys(run))


def test_settings_of_the_fine_tuning_leave_the_other_adaptations_their_keys() -> None:
    network = simulated_network()
    longer = network.with_(tuning=network.tuning.with_(epochs=9, label_smoothing=0.1))
    for adaptation, same in (("parametric", True), ("statistics", True), ("finetune", False)):
        keys = {
            fixres_plan(each).adapting(each, each.runs[0], adaptation, 80).key  # type: ignore[arg-type]
            for each in (network, longer)
        }
        assert (len(keys) == 1) == same


def test_a_specification_comes_back_from_the_journal_as_it_was() -> None:
    plan = lowered()
    network, lower = plan.networks
    for spec in (
        plan.training(lower, lower.runs[0]),
        plan.sweep(network, network.runs[0]),
        plan.adapting(lower, lower.runs[0], "statistics", 80),
        plan.reporting(network, network.runs[0], "finetune", 80),
    ):
        assert decode_spec(json.loads(json.dumps(spec.to_json()))) == spec


def test_the_report_shows_tables_figures_and_how_to_go_on(tmp_path: Path) -> None:
    plan, run_dir = lowered(), RunDir(tmp_path / "run")
    result = document(plan, run(tmp_path, plan))
    config = FixResStageConfig(
        family="runs/family", train_resolution=64, finetune={"epochs": "2"}, runner="inline"
    )
    write_json(run_dir.description, {"version": 1, "command": STAGE, "config": config.to_json()})
    write_json(run_dir.result(STAGE), result)
    text = write_report(run_dir).read_text()
    assert result["verdict"]["sentence"] in text
    assert "--family runs/family --train-resolution 64" in text
    assert "--set finetune.epochs=2" in text
    for number in (1, 2):
        with Image.open(run_dir.figures / f"resolution-{number}.png") as image:
            assert min(image.size) > 200
    charts = resolution_charts(result)
    assert [chart.train_resolution for chart in charts] == [96, 64]
    assert [name for name, _ in charts[0].lines] == ["none", "parametric", "statistics", "finetune"]


def test_models_are_named_for_files_and_for_the_registry(tmp_path: Path) -> None:
    plan = replace(lowered(), register="digits")
    result = document(plan, run(tmp_path, plan))
    assert [(model["path"], model["register"]) for model in result["models"]] == [
        ("fixres/models/B1", "digits-B1"),
        ("fixres/models/B1-at-64-px", "digits-B1-at-64-px"),
    ]


def test_sizes_are_equal_where_the_paper_says() -> None:
    crops = AugmentConfig(crop="random-resized")
    sides = usual_sides(crops, train_resolution=224, crop_fraction=0.875, total_stride=32)
    assert sides == (160, 224, 288, 352)  # 276.8 px is equal; 168 and 336 lie halfway
    whole = usual_sides(
        AugmentConfig(crop="pad"), train_resolution=33, crop_fraction=1.0, total_stride=16
    )
    assert whole == (32, 33, 48)


def test_resolutions_are_sorted_and_taken_once() -> None:
    assert parse_sides("test_resolutions", "96, 64,96,") == (64, 96)


def test_every_option_sets_a_field_of_its_configuration() -> None:
    common = {field.name for field in fields(CommonConfig)}
    own = {field.name for field in fields(FixResStageConfig)} - common
    named = [option.name for option in OPTIONS["fixres"]]
    assert len(set(named)) == len(named)
    assert set(named) >= own - {"finetune", "finetune_at"}
    assert {option.name for option in COMMON} - set(named) == {"controls", "classes", "policy"}


def test_a_run_is_gone_on_with_by_the_command_it_was_begun_with() -> None:
    config = FixResStageConfig(model="b1", adapt="finetune", affine=True, finetune={"lr": "0.01"})
    words = command_line({"command": STAGE, "config": config.to_json()}, "there")
    assert words[:4] == ["orchestrator", "fixres", "--run-dir", "there"]
    expected = ["--model", "b1", "--adapt", "finetune", "--affine", "--set", "finetune.lr=0.01"]
    assert words[4:] == expected


def test_the_plan_counts_what_it_computes() -> None:
    plan = fixres_plan()
    (network,) = plan.networks
    cost = plan.cost(1e-12)
    assert cost.trials == 3 * (1 + 4 + 5 + 3 + 2)
    assert cost.estimated_hours is not None
    assert cost.disk_bytes > 0
    assert isinstance(plan.training(network, network.runs[0]).config, TrainConfig)
