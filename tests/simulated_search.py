"""Whole coefficient searches in a run directory, with a learner that only pretends to train."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from orchestrator.config.scaling import SearchScalingConfig
from orchestrator.controller import Controller
from orchestrator.history import History, history_of
from orchestrator.interrupts import Interrupts
from orchestrator.journal import open_journal, read_events
from orchestrator.run_dir import RunDir, write_json
from orchestrator.runners.base import Job
from orchestrator.runners.inline import InlineRunner
from orchestrator.selection.halving import plan_rungs
from orchestrator.stages.scaling.plan import STAGE, Control, Evidence, ScalingPlan
from orchestrator.stages.scaling.stage import ScalingSearch
from orchestrator.trial import Report
from search_spaces.compound_scaling import Baseline
from search_spaces.controls import published_triple, uniform_scaling
from search_spaces.screening import screen
from tests.factories import Watcher, workspace
from trainer.config import TrainConfig

START = Baseline.of("efficientnet-b0-small", num_classes=10, resolution=32, width="0.25")


def learn(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Accuracy grows with the resolution, saturates with time, and differs by seed."""
    config = job.spec.config
    assert isinstance(config, TrainConfig)
    noise = random.Random(str(config.to_json())).gauss(0, 0.004)
    best = 0.85 + 0.006 * (config.model.resolution - 32) + noise
    for epoch in range(job.known_epochs + 1, (job.until or config.epochs) + 1):
        wobble = random.Random(f"{epoch}{config.to_json()}").gauss(0, 0.01 / epoch)
        top1 = min(best * (1 - math.exp(-0.7 * epoch)) + wobble, 1.0)
        speed = {"seconds": 2.0, "images_per_second": 500.0}
        yield {"epoch": epoch, "top1": top1, "loss": 1 - top1, "lr": 0.1 / epoch, **speed}


def search_plan(*, step: Fraction = Fraction(1, 5), **changes: Any) -> ScalingPlan:
    """A search at twice the baseline's cost, 8 epochs a trial, 3 finalists, 3 seeds."""
    screening = screen(START, target=Fraction(2), step=step)
    values: dict[str, Any] = {
        "question": {"dataset": "digits", "flops_budget": "2x"},
        "constraint": {"kind": "counted", "target_ratio": 2.0, "tolerance": 0.1},
        "start": START,
        "screening": screening,
        "recipe": TrainConfig(model=START.config, epochs=8),
        "evidence": Evidence(fingerprint="f", num_images=5_000, chance=0.1),
        "halving": plan_rungs(8, len(screening.candidates), num_finalists=3),
        "num_seeds": 3,
        "controls": (
            Control(name="published triple", candidate=published_triple(START)),
            Control(name="uniform scaling", candidate=uniform_scaling(START, Fraction(2))),
        ),
    }
    return ScalingPlan(**{**values, **changes})


def simulated_search(root: Path, plan: ScalingPlan, *, conclude: bool = True) -> RunDir:
    """Run the search in `root/run`, or go on with it, and leave what a session leaves."""
    run_dir = RunDir(root / "run")
    config = SearchScalingConfig(seeds=3, epochs=8, runner="inline")
    described = {"version": 1, "command": STAGE, "config": config.to_json(), "git_sha": "0123abcd"}
    packages = {"packages": {"torch": "2.11.0"}, "host": {"name": "node-1", "python": "3.11.7"}}
    write_json(run_dir.description, {**described, **packages})
    stage = ScalingSearch(plan)
    with open_journal(run_dir) as (journal, _):
        history = History()
        history_of(read_events(run_dir.journal)[0], into=history)
        asked = {"event": "stage", "stage": STAGE, "question": stage.question}
        session = {"event": "session", "pid": 1, "host": "node-1"}
        history_of(journal.append([session, asked]), into=history)
        Controller(
            stage=stage,
            journal=journal,
            history=history,
            runner=InlineRunner({"train": learn}),
            workspace=workspace(root),
            observer=Watcher(),
            interrupts=Interrupts(),
        ).run()
        if conclude:
            write_json(run_dir.result(STAGE), stage.reduce(history))
            journal.append([{"event": "concluded", "stage": STAGE}])
    return run_dir
