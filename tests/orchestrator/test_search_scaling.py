"""The stage against a simulated learner: real controller, journal and searchers, no training."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from orchestrator.controller import Controller
from orchestrator.errors import Interrupted, StageFailed
from orchestrator.history import History, history_of
from orchestrator.interrupts import Interrupts
from orchestrator.journal import open_journal, read_events
from orchestrator.run_dir import RunDir
from orchestrator.runners.base import Job
from orchestrator.runners.inline import InlineRunner
from orchestrator.selection.halving import plan_rungs
from orchestrator.stages.scaling.plan import Control, Evidence, ScalingPlan
from orchestrator.stages.scaling.stage import ScalingSearch
from orchestrator.trial import Report
from search_spaces.compound_scaling import Baseline
from search_spaces.controls import published_triple, random_candidate, uniform_scaling
from search_spaces.screening import screen
from tests.factories import Watcher, workspace
from trainer.config import TrainConfig

START = Baseline.of("efficientnet-b0-small", num_classes=10, resolution=32, width="0.25")
SCREENING = screen(START, target=Fraction(2), step=Fraction(1, 5))
HORIZON = 8


def accuracy(config: TrainConfig, epoch: int) -> float:
    """Better with resolution, and with a learning rate near 0.1; noise by seed; saturating."""
    noise = random.Random(f"{config.to_json()}").gauss(0, 0.005)
    penalty = 0.02 * abs(math.log10(config.optim.lr / 0.1))
    best = 0.8 + 0.01 * (config.model.resolution - 32) - penalty + noise
    return min(1.0, best * (1 - math.exp(-epoch / 2)))


def simulate(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    config = job.spec.config
    assert isinstance(config, TrainConfig)
    for epoch in range(job.known_epochs + 1, (job.until or config.epochs) + 1):
        if should_stop():
            return
        yield {"epoch": epoch, "top1": accuracy(config, epoch), "seconds": 1.0}


def diverge(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    raise FloatingPointError("the loss became nan")
    yield {}


def plan(**changes: Any) -> ScalingPlan:
    values: dict[str, Any] = {
        "question": {"asked": sorted(changes)},
        "constraint": {"kind": "counted", "target_ratio": 2.0, "tolerance": 0.1},
        "start": START,
        "screening": SCREENING,
        "recipe": TrainConfig(model=START.config, epochs=HORIZON),
        "evidence": Evidence(fingerprint="f", num_images=100_000, chance=0.1),
        "halving": plan_rungs(HORIZON, len(SCREENING.candidates), num_finalists=3),
        "num_seeds": 3,
        "controls": (
            Control(name="published triple", candidate=published_triple(START)),
            Control(name="uniform scaling", candidate=uniform_scaling(START, Fraction(2))),
            Control(name="random candidate", candidate=random_candidate(SCREENING.candidates, 0)),
        ),
    }
    return ScalingPlan(**{**values, **changes})


def run(
    root: Path,
    search: ScalingSearch,
    *,
    interrupts: Interrupts | None = None,
    watcher: Watcher | None = None,
    objective: Any = simulate,
) -> dict[str, Any]:
    listening = Interrupts() if interrupts is None else interrupts
    run_dir = RunDir(root / "run")
    with open_journal(run_dir) as (journal, _):
        history = History()
        history_of(read_events(run_dir.journal)[0], into=history)
        history_of(journal.append([{"event": "session", "pid": 1}]), into=history)
        Controller(
            stage=search,
            journal=journal,
            history=history,
            runner=InlineRunner({"train": objective}, lambda: bool(listening)),
            workspace=workspace(root),
            observer=watcher or Watcher(),
            interrupts=listening,
        ).run()
        return search.reduce(history)


def events(root: Path, kind: str) -> list[dict[str, Any]]:
    return [e for e, _ in read_events(RunDir(root / "run").journal)[0] if e["event"] == kind]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("search")
    return root, run(root, ScalingSearch(plan()))


def test_the_winner_is_the_network_that_is_best_in_truth(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    _, document = finished
    best = max(c.config.resolution for c in SCREENING.candidates)
    assert document["winner"]["resolution"] == best
    assert document["winner"]["mean"] == max(r["mean"] for r in document["results"][:3])


def test_finalists_have_seeds_that_took_no_part_in_the_race(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    root, document = finished
    finalists = [row for row in document["results"] if row["finalist"]]
    assert [row["seeds"] for row in finalists] == [[1, 2, 3]] * 3
    raced = {e["labels"]["seed"] for e in events(root, "proposed") if e["milestones"]}
    assert raced == {0}


def test_every_network_has_a_row_and_the_dropped_ones_say_so(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    _, document = finished
    assert len(document["results"]) == len(SCREENING.candidates)
    counts = [row["status"] for row in document["results"]].count("pruned")
    assert counts == len(SCREENING.candidates) - plan().halving.keep[-1]  # type: ignore[union-attr]


def test_controls_are_trained_like_finalists_and_shown_apart(
    finished: tuple[Path, dict[str, Any]],
) -> None:
    _, document = finished
    names = [row["control"] for row in document["controls"]]
    assert names == ["published triple", "uniform scaling", "random candidate"]
    assert all(row["seeds"] == [1, 2, 3] for row in document["controls"])
    published = document["controls"][0]
    assert (published["alpha"], published["beta"], published["gamma"]) == (1.2, 1.1, 1.15)


def test_the_family_follows_the_winner(finished: tuple[Path, dict[str, Any]]) -> None:
    _, document = finished
    rows = document["family"]
    assert [row["name"] for row in rows] == [f"B{phi}" for phi in range(1, 8)]
    assert rows[0]["macs_ratio"] == document["winner"]["macs_ratio"]
    assert rows[6]["target_ratio"] == pytest.approx(document["winner"]["macs_ratio"] ** 7)


def test_the_plan_counts_what_was_run(finished: tuple[Path, dict[str, Any]]) -> None:
    root, document = finished
    started = {event["key"] for event in events(root, "started")}
    # the random control may be a finalist, whose trials are then shared
    assert len(started) in (document["plan"]["trials"], document["plan"]["trials"] - 3)


class InterruptAfter(Watcher):
    def __init__(self, interrupts: Interrupts, reports: int) -> None:
        super().__init__()
        self.interrupts, self.left = interrupts, reports

    def observe(self, history: History, event: dict[str, Any]) -> None:
        self.left -= event["event"] == "report"
        if self.left == 0 and not self.interrupts:
            self.interrupts.note(2)


@pytest.mark.parametrize("reports", [1, 7, 19, 38, 47, 61, 83, 101])
def test_a_search_interrupted_anywhere_comes_to_the_same_document(
    tmp_path: Path, finished: tuple[Path, dict[str, Any]], reports: int
) -> None:
    interrupts, search = Interrupts(), ScalingSearch(plan())
    watcher = InterruptAfter(interrupts, reports)
    with pytest.raises(Interrupted):
        run(tmp_path, search, interrupts=interrupts, watcher=watcher)
    assert run(tmp_path, ScalingSearch(plan())) == finished[1]
    proposed = [event["key"] for event in events(tmp_path, "proposed")]
    assert len(proposed) == len(set(proposed))


def test_more_seeds_in_the_same_directory_train_only_what_is_new(tmp_path: Path) -> None:
    run(tmp_path, ScalingSearch(plan()))
    before = len(events(tmp_path, "started"))
    document = run(tmp_path, ScalingSearch(plan(num_seeds=4)))
    assert document["winner"]["seeds"] == [1, 2, 3, 4]
    networks = {tuple(row["keys"]) for row in document["results"][:3] + document["controls"]}
    assert len(events(tmp_path, "started")) - before == len(networks)


def test_a_wider_grid_in_the_same_directory_reuses_the_networks_it_shares(tmp_path: Path) -> None:
    run(tmp_path, ScalingSearch(plan(controls=())))
    shared = {event["key"] for event in events(tmp_path, "proposed")}
    finer = screen(START, target=Fraction(2), step=Fraction(1, 10))
    rungs = plan_rungs(HORIZON, len(finer.candidates), num_finalists=3)
    document = run(tmp_path, ScalingSearch(plan(controls=(), screening=finer, halving=rungs)))
    assert len(document["results"]) == len(finer.candidates)
    again = {e["key"] for e in events(tmp_path, "proposed")} - shared
    assert {row["key"] for row in document["results"]} - again  # some rows are of the first run
    epochs = [e["report"]["epoch"] for e in events(tmp_path, "report") if e["key"] in shared]
    assert len(epochs) == len(
        {(e["key"], e["report"]["epoch"]) for e in events(tmp_path, "report") if e["key"] in shared}
    )


def test_without_halving_all_seeds_of_all_candidates_are_run(tmp_path: Path) -> None:
    document = run(tmp_path, ScalingSearch(plan(halving=None, controls=())))
    assert all(row["seeds"] == [0, 1, 2] for row in document["results"])
    assert document["rungs"] is None


def test_the_recipe_is_tuned_first_and_never_worse_than_the_default(tmp_path: Path) -> None:
    recipe = replace(plan().recipe, optim=plan().recipe.optim.with_(lr=0.01))
    document = run(tmp_path, ScalingSearch(plan(recipe=recipe, recipe_trials=9, controls=())))
    tuned = document["recipe"]["lr"]
    assert abs(math.log10(tuned / 0.1)) < 1
    assert document["recipe"]["tuned"]
    names = [event["labels"]["name"] for event in events(tmp_path, "proposed")]
    assert all(name.startswith("recipe") for name in names[:9])


def test_a_search_without_an_accuracy_says_why(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match="FloatingPointError: the loss became nan"):
        run(tmp_path, ScalingSearch(plan()), objective=diverge)
