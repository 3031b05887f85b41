"""The stage against a simulated learner: real controller, journal and searchers, no training."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from orchestrator.errors import StageFailed
from orchestrator.history import History
from orchestrator.run_dir import RunDir
from orchestrator.runners.base import Job, Objectives
from orchestrator.searchers.autoaugment import AutoAugmentSettings
from orchestrator.selection.halving import plan_rungs
from orchestrator.stages.augment.plan import AugmentPlan, Method
from orchestrator.stages.augment.stage import AugmentSearch
from orchestrator.trial import Report
from tests.controlled import carried_out
from tests.simulated_augment import EPOCHS, LEARNER, augment_plan, worth
from trainer.augment.files import policy_from_dict
from trainer.augment.policy import PolicySchedule

METHODS: tuple[Method, ...] = get_args(Method)
SEARCHED = [method for method in METHODS if method not in ("trivialaugment", "none")]


def plan_of(method: Method, **changes: Any) -> AugmentPlan:
    """Ten trials of each method, four members; the independent ones are raced."""
    values: dict[str, Any] = {"method": method, "trials": 4 if method == "pba" else 10}
    if method in ("random", "randaugment"):
        values["halving"] = plan_rungs(EPOCHS, 10, num_finalists=3)
    return augment_plan(**{**values, **changes})


def run(root: Path, plan: AugmentPlan, *, objectives: Objectives = LEARNER) -> History:
    """To the end, or on from where the journal stands."""
    return carried_out(root, AugmentSearch(plan), objectives)


def document(plan: AugmentPlan, history: History) -> dict[str, Any]:
    return AugmentSearch(plan).reduce(history)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_ends_in_a_verdict_on_all_arms(tmp_path: Path, method: Method) -> None:
    plan = plan_of(method)
    result = document(plan, run(tmp_path, plan))
    control = {"random search"} if method in SEARCHED and method != "random" else set()
    arms = {row["name"]: row for row in result["arms"]}
    assert arms.keys() == {method, "trivialaugment", "none"} | control
    assert all(len(row["values"]) == 3 for row in arms.values())
    assert method in result["verdict"]["sentence"] or method == "none"
    assert {row["second"] for row in result["differences"]} == arms.keys() - {method}
    assert (result["policy"] is None) == (method == "none")


@pytest.mark.parametrize("method", SEARCHED)
def test_a_search_cut_anywhere_goes_on_to_the_same_end(tmp_path: Path, method: Method) -> None:
    plan = plan_of(method)
    whole = run(tmp_path / "whole", plan)
    lines = RunDir(tmp_path / "whole" / "run").journal.read_bytes().splitlines(keepends=True)
    for number in random.Random(method).sample(range(1, len(lines)), 4):
        root = tmp_path / f"cut-{number}"
        (root / "run").mkdir(parents=True)
        RunDir(root / "run").journal.write_bytes(b"".join(lines[:number]))
        resumed = run(root, plan)
        assert {t.key for t in resumed.trials()} == {t.key for t in whole.trials()}
        assert document(plan, resumed) == document(plan, whole)


def test_the_verdict_uses_seeds_and_images_that_no_search_has_seen(tmp_path: Path) -> None:
    plan = plan_of("autoaugment")
    history = run(tmp_path, plan)
    proposals = [trial.proposal for trial in history.trials()]
    verdict = [p for p in proposals if p["labels"]["name"].startswith("verdict")]
    children = [p for p in proposals if p not in verdict]
    assert {p["config"]["data"]["evaluate_on"] for p in verdict} == {"reporting"}
    assert {p["config"]["data"]["evaluate_on"] for p in children} == {"selection"}
    assert not {p["config"]["seed"] for p in verdict} & {p["config"]["seed"] for p in children}


def test_the_control_tries_as_many_policies_as_the_search(tmp_path: Path) -> None:
    for method in ("autoaugment", "randaugment", "fast-autoaugment"):
        plan = plan_of(method, halving=None)
        spent = {row["phase"]: row for row in document(plan, run(tmp_path / method, plan))["spent"]}
        assert spent["search"]["trials"] == spent["control"]["trials"]
        assert spent["search"]["epochs"] == spent["control"]["epochs"]


def test_the_controller_beats_random_search_where_a_good_decision_is_planted(
    tmp_path: Path,
) -> None:
    controller = AutoAugmentSettings(batch=10, keep=5)
    settings = replace(augment_plan().settings, controller=controller, keep=5)
    plan = plan_of("autoaugment", trials=400, settings=settings)
    result = document(plan, run(tmp_path, plan))
    better = next(row for row in result["differences"] if row["second"] == "random search")
    assert better["interval"][0] > 0
    assert (
        "is better than that of a random search at the same cost" in (result["verdict"]["sentence"])
    )


def test_without_a_difference_none_is_claimed(tmp_path: Path) -> None:
    plan = plan_of("randaugment")  # all its policies rotate equally much
    sentence = document(plan, run(tmp_path, plan))["verdict"]["sentence"]
    assert "better" in sentence or "worse" in sentence or "not distinguishable" in sentence
    even = {**LEARNER, "train": _indifferent}
    result = document(plan, run(tmp_path / "even", plan, objectives=even))
    assert "not distinguishable" in result["verdict"]["sentence"]


def _indifferent(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    seed, horizon = job.spec.config.to_json()["seed"], job.until or EPOCHS
    noise = random.Random(job.spec.key).gauss(0, 0.004)
    for epoch in range(job.known_epochs + 1, horizon + 1):
        yield {"epoch": epoch, "top1": 0.5 + 0.01 * seed + noise, "seconds": 1.0}


def test_a_population_finds_a_schedule_that_covers_the_epochs(tmp_path: Path) -> None:
    plan = plan_of("pba", trials=8)
    result = document(plan, run(tmp_path, plan))
    schedule = policy_from_dict(result["policy"])
    assert isinstance(schedule, PolicySchedule)
    assert schedule.epochs == EPOCHS
    assert worth(schedule.segments[0].policy) == 0  # every member starts without augmentation


def test_a_member_names_its_parent_and_carries_the_whole_lineage(tmp_path: Path) -> None:
    history = run(tmp_path, plan_of("pba"))
    generations = [t for t in history.trials() if "generation" in t.labels]
    by_key = {trial.key: trial for trial in generations}
    assert len(generations) == 4 * 3
    for trial in generations:
        config = trial.proposal["config"]
        if trial.labels["generation"] == 1:
            assert config["parent"] is None
            continue
        parent = by_key[config["parent"]].proposal["config"]
        assert parent["end"] == config["begin"]
        assert parent["train"]["seed"] == config["train"]["seed"]


def test_children_dropped_at_a_rung_make_no_policy(tmp_path: Path) -> None:
    plan = plan_of("random")
    history = run(tmp_path, plan)
    children = [t for t in history.trials() if t.labels["name"].startswith("child")]
    ended = [trial for trial in children if trial.epochs == EPOCHS]
    assert len(children) == 10
    assert 3 <= len(ended) < 10
    best = sorted(ended, key=lambda trial: -(trial.metric("top1") or 0))[:2]
    kept = [t.proposal["config"]["augment"]["policy"]["sub_policies"] for t in best]
    assert document(plan, history)["policy"]["sub_policies"] == [sub for p in kept for sub in p]


def test_without_controls_nothing_is_claimed(tmp_path: Path) -> None:
    plan = plan_of("random", controls=False)
    result = document(plan, run(tmp_path, plan))
    assert [row["name"] for row in result["arms"]] == ["random"]
    assert "nothing can be said about its worth" in result["verdict"]["sentence"]


def test_a_search_that_comes_to_nothing_says_why(tmp_path: Path) -> None:
    def broken(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
        if job.spec.labels["name"].startswith("verdict"):  # type: ignore[union-attr]
            yield from LEARNER["train"](job, should_stop)
            return
        raise FloatingPointError("the loss became nan")

    for method, objective in (("autoaugment", "train"), ("pba", "train-generation")):
        plan = plan_of(method)  # type: ignore[arg-type]
        history = run(tmp_path / method, plan, objectives={**LEARNER, objective: broken})
        with pytest.raises(StageFailed, match=method):
            document(plan, history)


def test_a_fold_that_fails_leaves_the_others_to_judge(tmp_path: Path) -> None:
    def first_fails(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
        if job.spec.labels["fold"] == 0:
            raise FloatingPointError("the loss became nan")
        yield from LEARNER["train-fold"](job, should_stop)

    plan = plan_of("fast-autoaugment")
    history = run(tmp_path, plan, objectives={**LEARNER, "train-fold": first_fails})
    assert document(plan, history)["policy"]["sub_policies"]


def test_a_plan_counts_the_trials_it_makes(tmp_path: Path) -> None:
    for method in METHODS:
        plan = plan_of(method)
        history = run(tmp_path / method, plan)
        planned = plan.cost(None)
        # Trials that two parts share are planned twice and run once.
        assert planned.trials >= sum(1 for _ in history.trials()) >= 0.6 * planned.trials


@pytest.mark.parametrize("method", ["fast-autoaugment", "pba", "autoaugment"])
def test_where_the_images_lie_is_no_part_of_a_key(method: Method) -> None:
    plan = plan_of(method)
    moved = plan.child.with_(data=plan.child.data.with_(dataset="elsewhere"))
    here, there = (
        [
            spec.key
            for search in AugmentSearch(p).searches.values()
            for spec in search.specs(History())
        ]
        for p in (plan, replace(plan, child=moved))
    )
    assert here == there
