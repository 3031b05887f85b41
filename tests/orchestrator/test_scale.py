"""The stage against a simulated learner: real controller, journal and statistics, no training."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from torchvision.models import EfficientNet_V2_S_Weights

from orchestrator.cli.options import OPTIONS, SCALE
from orchestrator.config.common import CommonConfig
from orchestrator.config.scale import ScaleConfig
from orchestrator.errors import NotReady, StageFailed
from orchestrator.history import History
from orchestrator.journal import read_events
from orchestrator.loading import load
from orchestrator.reporting.continuing import command_line
from orchestrator.reporting.figure_rows import mode_lines
from orchestrator.reporting.live import Silent
from orchestrator.reporting.report import write_report
from orchestrator.reporting.scale_tables import scale_lines
from orchestrator.run_dir import RunDir, write_json
from orchestrator.runners.base import Job, Objectives
from orchestrator.stages.scale.plan import STAGE, ScalePlan
from orchestrator.stages.scale.result import asked
from orchestrator.stages.scale.run import plan_for, with_search
from orchestrator.stages.scale.source import read_source
from orchestrator.stages.scale.speed import BUDGET_SECONDS, EACH_SECONDS, speeds
from orchestrator.stages.scale.stage import FamilyTraining
from orchestrator.tracking.tables import stage_files
from orchestrator.trial import Report
from search_spaces.family_tables import MODES
from tests.controlled import carried_out
from tests.simulated_scale import LEARNER, START, learn, scale_plan
from tests.simulated_search import search_plan, simulated_search
from trainer.complexity import count
from trainer.config import TrainConfig

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "efficientnet.json").read_text())
Run = Callable[..., tuple[int, str, str]]


def run(root: Path, plan: ScalePlan, *, objectives: Objectives = LEARNER) -> History:
    """To the end, or on from where the journal stands."""
    return carried_out(root, FamilyTraining(plan), objectives)


def document(plan: ScalePlan, history: History) -> dict[str, Any]:
    return FamilyTraining(plan).reduce(history)


def test_every_member_is_trained_with_every_seed_and_judged_on_the_reporting_split(
    tmp_path: Path,
) -> None:
    plan = scale_plan()
    history = run(tmp_path, plan)
    result = document(plan, history)
    assert [row["name"] for row in result["results"]] == [m.name for m in plan.members]
    assert all(len(row["values"]) == 3 for row in result["results"])
    assert all(low < r["mean"] < high for r in result["results"] for low, high in [r["interval"]])
    configs = [trial.proposal["config"] for trial in history.trials()]
    assert {config["data"]["evaluate_on"] for config in configs} == {"reporting"}
    assert len(configs) == plan.cost(None).trials == 2 * 4 * 3
    assert result["plan"]["estimated_hours"] > 0


def work(proposal: dict[str, Any]) -> int:
    return int(proposal["labels"]["macs"] * proposal["config"]["epochs"])


def test_the_longest_trials_are_begun_first(tmp_path: Path) -> None:
    plan = scale_plan()
    short = plan.members[-1].train.with_(epochs=1)  # large, but soon over
    plan = replace(plan, members=(*plan.members[:-1], replace(plan.members[-1], train=short)))
    history = run(tmp_path, plan)
    events = [event for event, _ in read_events(RunDir(tmp_path / "run").journal)[0]]
    started = [event["key"] for event in events if event["event"] == "started"]
    lengths = [work(history[key].proposal) for key in started]
    assert lengths == sorted(lengths, reverse=True)
    assert len(set(lengths)) == len(plan.members)


def test_what_is_left_is_proposed_longest_first_too(tmp_path: Path) -> None:
    plan = scale_plan()
    whole = run(tmp_path, plan)
    more = FamilyTraining(replace(plan, seeds=(0, 1, 2, 7)))
    wanted = [spec.to_json() for spec in more.propose(whole, count=1, seed=0)]
    assert {spec["config"]["seed"] for spec in wanted} == {7}
    lengths = [work(spec) for spec in wanted]
    assert lengths == sorted(lengths, reverse=True)


def test_a_run_cut_anywhere_goes_on_to_the_same_end(tmp_path: Path) -> None:
    plan = scale_plan(phis="1")
    whole = run(tmp_path / "whole", plan)
    lines = RunDir(tmp_path / "whole" / "run").journal.read_bytes().splitlines(keepends=True)
    for number in random.Random(0).sample(range(1, len(lines)), 6):
        root = tmp_path / f"cut-{number}"
        (root / "run").mkdir(parents=True)
        RunDir(root / "run").journal.write_bytes(b"".join(lines[:number]))
        resumed = run(root, plan)
        assert {t.key for t in resumed.trials()} == {t.key for t in whole.trials()}
        assert document(plan, resumed) == document(plan, whole)


def test_a_finished_family_wants_nothing_more(tmp_path: Path) -> None:
    plan = scale_plan(phis="1")
    history = run(tmp_path, plan)
    assert FamilyTraining(plan).propose(history, count=9, seed=0) == []


def test_each_axis_is_compared_with_the_compound_network_of_its_cost(tmp_path: Path) -> None:
    plan = scale_plan()
    result = document(plan, run(tmp_path, plan))
    rows = {(row["phi"], row["axis"]): row for row in result["comparisons"]}
    assert rows.keys() == {(p, axis) for p in (1.0, 2.0) for axis in MODES[1:]}
    for (phi, axis), row in rows.items():
        assert (row["first"], row["second"]) == (f"B{phi:g}", f"B{phi:g} {axis}")
        clear = axis != "resolution"  # the simulated gap: 3 points, and 0.2 of a point
        assert ("is better than" in row["sentence"]) == clear
        assert ("is not distinguishable from" in row["sentence"]) == (not clear)
        assert f"{axis} alone, which costs" in row["sentence"]
        assert row["adjusted_p_value"] >= row["p_value"]
    assert result["verdict"]["sentence"] == (
        "Compound scaling at nearly equal multiply-adds against depth alone: better in 2 of 2 "
        "sizes; against width alone: better in 2 of 2 sizes; "
        "against resolution alone: not distinguishable in 2 of 2 sizes."
    )


def test_without_a_single_axis_nothing_is_claimed(tmp_path: Path) -> None:
    plan = scale_plan(modes=("compound",))
    result = document(plan, run(tmp_path, plan))
    assert result["comparisons"] == []
    assert "so nothing is compared" in result["verdict"]["sentence"]


def failing(*names: str) -> Objectives:
    def objective(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
        if job.spec.labels["name"] in names:
            raise FloatingPointError("the loss became nan")
        yield from learn(job, should_stop)

    return {"train-model": objective}


def test_a_member_that_fails_leaves_the_others_standing(tmp_path: Path) -> None:
    plan = scale_plan(phis="1")
    result = document(plan, run(tmp_path, plan, objectives=failing("B1 width")))
    rows = {row["name"]: row for row in result["results"]}
    assert rows["B1 width"]["mean"] is None
    assert "the loss became nan" in rows["B1 width"]["error"]
    assert [row["axis"] for row in result["comparisons"]] == ["depth", "resolution"]
    assert any("the loss became nan" in line for line in scale_lines(result))


def test_a_family_of_which_nothing_is_left_says_why(tmp_path: Path) -> None:
    plan = scale_plan(phis="1", modes=("compound",))
    history = run(tmp_path, plan, objectives=failing("B1"))
    with pytest.raises(StageFailed, match="the loss became nan"):
        document(plan, history)


def test_the_report_shows_the_table_the_figure_and_how_to_go_on(tmp_path: Path) -> None:
    plan, run_dir = scale_plan(), RunDir(tmp_path / "run")
    result = document(plan, run(tmp_path, plan))
    config = ScaleConfig(coefficients="1.2,1.1,1.15", phi="1,2", mode="all", runner="inline")
    write_json(run_dir.description, {"version": 1, "command": STAGE, "config": config.to_json()})
    write_json(run_dir.result(STAGE), result)
    text = write_report(run_dir).read_text()
    assert result["verdict"]["sentence"] in text
    assert all(row["sentence"] in text for row in result["comparisons"])
    assert "--coefficients 1.2,1.1,1.15 --phi 1,2 --mode all" in text
    with Image.open(run_dir.figures / "family.png") as image:
        assert min(image.size) > 200
    kept = stage_files(run_dir, STAGE)  # what MLflow is given
    assert {"result.json", "results.csv", "comparisons.csv", "figures/family.png"} <= kept.keys()


def test_the_figure_has_a_line_for_each_mode_from_cheap_to_dear(tmp_path: Path) -> None:
    plan = scale_plan(phis="2,1")
    result = document(plan, run(tmp_path, plan, objectives=failing("B2 depth")))
    lines = {line.mode: line.points for line in mode_lines(result)}
    assert list(lines) == list(MODES)
    assert [point.label for point in lines["compound"]] == ["B1", "B2"]
    assert [point.label for point in lines["depth"]] == ["B1"]
    assert all(p.interval[0] < p.mean < p.interval[1] for ps in lines.values() for p in ps)


# What is planned on the real digits.


@pytest.fixture
def call(command_line: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command line whose networks all train 1e10 multiply-adds a second, measured at once."""

    def speed(config: TrainConfig, **options: Any) -> float:
        return 1e10 / count(config.model).macs

    monkeypatch.setattr("trainer.probe.training_speed", speed)
    return command_line


def test_the_published_table_is_printed_to_the_unit(call: Run) -> None:
    code, out, _ = call("scale", "--published", "--dry-run", "--json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads(out)["members"]}
    assert rows.keys() == GOLDEN["published"].keys()
    for name, known in GOLDEN["published"].items():
        shared = known.keys() - {"stem", "head"}
        assert {key: rows[name][key] for key in shared} == {key: known[key] for key in shared}


def test_the_exact_table_is_printed_to_the_unit(call: Run) -> None:
    line = "scale --coefficients 1.2,1.1,1.15 --baseline efficientnet-b0 --resolution 224"
    line += " --classes 1000 --phi 0.5,1-7 --dry-run --json"
    code, out, _ = call(*line.split())
    assert code == 0
    rows = {f"{row['phi']:g}": row for row in json.loads(out)["members"]}
    assert rows.keys() == GOLDEN["exact"].keys()
    for phi, known in GOLDEN["exact"].items():
        assert {key: rows[phi][key] for key in known} == known


def test_a_plan_says_what_is_measured_and_what_is_estimated(call: Run) -> None:
    code, out, _ = call("scale", "--published", "--members", "B0,L2", "--dry-run", "--json")
    result = json.loads(out)
    assert code == 0
    first, last = result["members"]
    assert (first["speed"], last["speed"]) == ("measured", "estimated")
    assert last["step_seconds"] == pytest.approx(32 * last["macs"] / 1e10)
    assert first["micro_batch"] == 32
    per_image = [row["estimated_memory_bytes"] / row["micro_batch"] for row in (first, last)]
    assert per_image[1] > 100 * per_image[0]
    assert result["plan"]["estimated_hours"] > 0
    assert result["plan"]["trials"] == 6


def test_efficientnet_v2_s_is_scaled_by_the_same_code(call: Run) -> None:
    line = "scale --baseline efficientnet-v2-s --classes 1000 --phi 1 --dry-run --json"
    stated = EfficientNet_V2_S_Weights.DEFAULT.meta
    code, out, _ = call(*line.split(), "--coefficients", "1,1,1")
    (same,) = json.loads(out)["members"]
    assert code == 0
    assert same["params"] == stated["num_params"]
    assert round(same["macs"] / 1e9, 3) == stated["_ops"]
    code, out, _ = call(*line.split(), "--coefficients", "1.2,1.1,1.15", "--mode", "all")
    rows = json.loads(out)["members"]
    assert [row["mode"] for row in rows] == list(MODES)
    assert all(abs(row["distance"]) < 0.05 for row in rows)
    assert rows[0]["repeats"] == [3, 5, 5, 8, 11, 18]  # of 2, 4, 4, 6, 9, 15


def winner_of_a_search(root: Path, **changes: Any) -> Path:
    run_dir = simulated_search(root, search_plan(**changes))
    return run_dir.root


def test_a_search_hands_on_its_winner_its_baseline_and_its_data(call: Run, tmp_path: Path) -> None:
    found = winner_of_a_search(tmp_path / "search")
    winner = json.loads(RunDir(found).result("search-scaling").read_text())["winner"]
    code, out, err = call("scale", "--from", str(found), "--phi", "1", "--dry-run", "--json")
    assert code == 0, err
    result = json.loads(out)
    (row,) = result["members"]
    assert result["coefficients"] == [winner[axis] for axis in ("alpha", "beta", "gamma")]
    assert (row["params"], row["macs"]) == (winner["params"], winner["macs"])
    assert result["baseline"] == START.to_json()
    assert row["target_ratio"] == winner["macs_ratio"]
    assert not set(result["seeds"]) & {0, *winner["seeds"]}


def test_a_source_knows_the_data_set_of_its_search(tmp_path: Path) -> None:
    found = winner_of_a_search(tmp_path)
    description = json.loads((found / "run.json").read_text())
    description["config"] |= {"dataset": "photos", "classes": 7}
    write_json(found / "run.json", description)
    config, source = with_search(ScaleConfig(from_=str(found)))
    assert source == read_source(str(found))
    assert (config.dataset, config.classes) == ("photos", 7)
    other, _ = with_search(ScaleConfig(from_=str(found), dataset="others", classes=3))
    assert (other.dataset, other.classes) == ("others", 3)


@pytest.fixture
def planned(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., ScalePlan]:
    monkeypatch.chdir(tmp_path)

    def plan(**options: Any) -> ScalePlan:
        config = load(ScaleConfig, options={**options, "cache_dir": str(cache)})
        found, *_ = plan_for(*with_search(config), watcher=Silent())
        return found

    return plan


def test_dropout_is_the_tables_unless_the_user_says_otherwise(
    planned: Callable[..., ScalePlan],
) -> None:
    def dropouts(plan: ScalePlan) -> list[float]:
        return [member.train.model.dropout for member in plan.members]

    exact = {"coefficients": "1.1,1.1,1.1", "phi": "1,2.5,9"}
    assert dropouts(planned(**exact)) == [0.25, 0.325, 0.5]
    assert dropouts(planned(published=True, members="B0,B3,B7")) == [0.2, 0.3, 0.5]
    said = planned(**exact, train={"model": {"dropout": "0.1"}})
    assert dropouts(said) == [0.1] * 3
    rows = asked(said)["members"]
    assert [row["dropout"] for row in rows] == [0.1] * 3
    assert [row["stochastic_depth"] for row in rows] == [0.2] * 3


def test_a_policy_that_counts_pixels_is_made_for_each_members_side(
    planned: Callable[..., ScalePlan],
) -> None:
    plan = planned(coefficients="1,1,2", phi="1,2", policy="trivialaugment")
    policies = [member.train.augment.policy for member in plan.members]
    assert None not in policies
    assert policies[0] != policies[1]
    assert planned(coefficients="1,1,2", phi="1,2", policy="trivialaugment") == plan


def test_an_axis_that_misses_the_cost_is_pointed_out(planned: Callable[..., ScalePlan]) -> None:
    plan = planned(coefficients="1.1,1.1,1.2", phi="1", mode="all")
    (warning,) = plan.warnings
    assert re.match(r"B1 width: .* costs 8\.0 % more than B1", warning)


def test_speeds_are_measured_while_there_is_time_and_estimated_after() -> None:
    now = 0.0
    asked_for: list[int] = []

    def probe(config: TrainConfig, seconds: float) -> float:
        nonlocal now
        macs = count(config.model).macs
        asked_for.append(macs)
        now += max(seconds, 2 * 8 * macs / 1e8)
        return 1e8 / macs

    configs = {m.name: m.train for m in scale_plan(phis="1-7", modes=("compound",)).members}
    found = speeds(
        dict(reversed(configs.items())),
        baseline=TrainConfig(model=START.config),
        probe=probe,
        images=lambda config: 8,
        clock=lambda: now,
    )
    assert now < BUDGET_SECONDS + EACH_SECONDS
    assert asked_for == sorted(asked_for)
    measured = [found[name].measured for name in configs]
    assert measured == sorted(measured, reverse=True)
    assert set(measured) == {True, False}
    for name, speed in found.items():
        assert speed.images_per_second == pytest.approx(1e8 / count(configs[name].model).macs)


def test_a_network_too_large_for_the_memory_is_estimated() -> None:
    configs = {m.name: m.train for m in scale_plan(phis="1-3", modes=("compound",)).members}
    largest = configs["B3"]

    def probe(config: TrainConfig, seconds: float) -> float | None:
        return None if config == largest else 1e8 / count(config.model).macs

    baseline = TrainConfig(model=START.config)
    found = speeds(configs, baseline=baseline, probe=probe, images=lambda config: 2)
    assert [speed.measured for speed in found.values()] == [True, True, False]
    with pytest.raises(NotReady, match="memory"):
        speeds(configs, baseline=largest, probe=probe, images=lambda config: 2)


EXACT = ("--coefficients", "1.2,1.1,1.15")
MISTAKES = {
    "nothing to scale by": ([], "--coefficients", "--published"),
    "a phi that is no number": ([*EXACT, "--phi", "two"], "--phi", "no number"),
    "no phi at all": ([*EXACT, "--phi", ","], "--phi", "names no φ"),
    "an empty phi": ([*EXACT, "--phi", ""], "--phi", "empty"),
    "a phi of the baseline": ([*EXACT, "--phi", "0"], "--phi", "the baseline itself"),
    "a huge phi": ([*EXACT, "--phi", "1e9"], "--phi", "more than 20"),
    "two coefficients": (["--coefficients", "1.2,1.1"], "--coefficients", "three numbers"),
    "a coefficient below one": (["--coefficients", "1.2,0.9,1"], "--coefficients", "at least 1"),
    "a coefficient that is none": (["--coefficients", "a,1,1"], "--coefficients", "'a'"),
    "a huge coefficient": (["--coefficients", "1,1e99,1"], "--coefficients", "4 at most"),
    "both tables by coefficients": (["--published", *EXACT], "--coefficients", "--published"),
    "both tables by a search": (["--published", "--from", "x"], "--from", "--published"),
    "both tables by phi": (["--published", "--phi", "1"], "--phi", "--published"),
    "published sizes by axis": (["--published", "--mode", "all"], "--mode", "--published"),
    "an unpublished size": (["--published", "--members", "B9"], "--members", "B8, L2"),
    "members of an exact family": ([*EXACT, "--members", "B1"], "--members", "--phi"),
    "coefficients from two places": (["--from", "x", *EXACT], "--coefficients", "--from"),
    "a baseline beside a search": (["--from", "x", "--resolution", "64"], "--resolution", "--from"),
    "a search that is not there": (["--from", "nowhere"], "--from: nowhere", "no run directory"),
    "a run of another stage": (["--from", "other"], "--from: other", "'search-augment'"),
    "a search without a result": (["--from", "begun"], "--from: begun", "no result yet"),
    "a search whose result is damaged": (["--from", "damaged"], "--from: damaged", "damaged"),
    "an unknown mode": ([*EXACT, "--mode", "dept"], "--mode", "Did you mean 'depth'?"),
    "a side below the strides": ([*EXACT, "--resolution", "8"], "resolution", "at least 16"),
    "a multiple that leaves nothing": (
        [*EXACT, "--resolution-multiple", "999"],
        "resolution",
        "at least 16",
    ),
    "another split to be judged on": (
        [*EXACT, "--set", "train.data.evaluate_on=selection"],
        "evaluate_on",
        "reporting",
    ),
    "a setting that phi decides": (
        [*EXACT, "--set", "train.model.head_channels=64"],
        "head_channels",
        "--baseline",
    ),
    "a run directory of another command": (
        [*EXACT, "--run-dir", "other"],
        "belongs to 'search-augment'",
        "",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_it(call: Run, tmp_path: Path, mistake: str) -> None:
    commands = {"other": "search-augment", "begun": "search-scaling", "damaged": "search-scaling"}
    for name, command in commands.items():
        write_json(tmp_path / name / "run.json", {"version": 1, "command": command, "config": {}})
    write_json(RunDir(tmp_path / "damaged").result("search-scaling"), {"winner": {"alpha": 1}})
    before = sorted(tmp_path.rglob("*"))
    arguments, named, hint = MISTAKES[mistake]
    code, out, err = call("scale", "--dry-run", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert named in err
    assert hint in err
    assert sorted(tmp_path.rglob("*")) == before


def test_every_option_sets_a_field_of_its_configuration() -> None:
    common = {field.name for field in fields(CommonConfig)}
    own = {field.name for field in fields(ScaleConfig)} - common
    assert {option.name for option in SCALE} == (
        own - {"baseline_width", "memory_per_trial"} | {"controls"}
    )
    assert next(option.flag for option in SCALE if option.name == "from_") == "--from"
    names = [option.name for option in OPTIONS["scale"]]
    assert len(names) == len(set(names))


def test_a_run_is_gone_on_with_by_the_command_it_was_begun_with() -> None:
    config = ScaleConfig(from_="runs/search", mode="all", baseline_width=None, seeds=5)
    words = command_line({"command": STAGE, "config": config.to_json()}, "there")
    assert words[:4] == ["orchestrator", "scale", "--run-dir", "there"]
    assert words[4:] == ["--seeds", "5", "--from", "runs/search", "--mode", "all"]
