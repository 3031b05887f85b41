"""The trainable as Tune calls it, without Tune."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.integrations.tune import TuneTrial, Work
from orchestrator.runners.base import Job
from orchestrator.trial import Report
from tests.factories import run_task, task, workspace
from trainer.errors import ConfigError

Ends = list[str]
Make = Callable[[str], TuneTrial]


@pytest.fixture
def ends() -> Ends:
    """Trials that came to what the objective does after its last report."""
    return []


@pytest.fixture
def work(tmp_path: Path, ends: Ends) -> Work:
    def objective(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
        for report in run_task(job, should_stop):
            yield {"beat": 1}
            yield {**report, "loss": None, "recall": [0.5]}
        ends.append(job.spec.key)

    return Work(
        spec_of=lambda point: task(point["name"], epochs=3),
        workspace=workspace(tmp_path),
        objectives={"task": objective},
    )


@pytest.fixture
def trial(work: Work) -> Iterator[Make]:
    """Makes trials of the given name, and cleans up after them as Tune does."""
    made: list[TuneTrial] = []

    def make(name: str) -> TuneTrial:
        made.append(TuneTrial.__new__(TuneTrial))  # Tune's constructor makes folders at home
        made[-1].setup({"name": name}, work=work)
        return made[-1]

    yield make
    for one in made:
        one.cleanup()


def test_a_step_is_an_epoch_and_the_last_one_says_so(trial: Make, ends: Ends) -> None:
    steps = [(made := trial("a")).step(), made.step(), made.step()]
    assert [(step["epoch"], step["top1"], step["done"]) for step in steps] == [
        (1, 0.01, False),
        (2, 0.02, False),
        (3, 0.03, True),
    ]
    assert ends == [task("a", epochs=3).key]


def test_metrics_are_numbers_and_the_report_travels_whole(trial: Make) -> None:
    step = trial("a").step()
    assert math.isnan(step["loss"])
    assert "recall" not in step
    assert json.loads(step["report"]) == {"epoch": 1, "top1": 0.01, "loss": None, "recall": [0.5]}


def test_a_trial_that_was_paused_goes_on_after_what_tune_has_heard(trial: Make) -> None:
    first = trial("a")
    first.step()
    saved = first.save_checkpoint("unused")
    first.cleanup()
    second = trial("a")
    second.load_checkpoint(saved)
    assert second.step()["epoch"] == 2


def test_another_trials_checkpoint_is_refused(trial: Make) -> None:
    saved = trial("a").save_checkpoint("unused")
    with pytest.raises(ConfigError, match="PopulationBasedTraining"):
        trial("b").load_checkpoint(saved)


def test_a_warm_process_becomes_another_trial(trial: Make, ends: Ends) -> None:
    made = trial("a")
    made.step()
    assert made.reset_config({"name": "b"})
    steps: list[dict[str, Any]] = [made.step() for _ in range(3)]
    assert [step["epoch"] for step in steps] == [1, 2, 3]
    assert ends == [task("b", epochs=3).key]


def test_the_same_point_twice_at_a_time_is_not_trained_twice_at_a_time(
    trial: Make, work: Work
) -> None:
    import fcntl

    made = trial("a")
    made.step()
    key = task("a", epochs=3).key
    (lock,) = work.workspace.run_root.rglob(f"{key}/tune.lock")
    with lock.open("w") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        made.cleanup()
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
