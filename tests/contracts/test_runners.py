"""What the controller may rely on, wherever trials run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.runners.base import Beat, Ended, Failed, Message, Reported, Runner
from orchestrator.runners.inline import InlineRunner
from orchestrator.runners.ray_pool import RayRunner
from orchestrator.trial import Bundle
from tests.scripted import OBJECTIVES, Script, scripted_job


@pytest.fixture(scope="module", params=["inline", "ray"])
def runner(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runner]:
    if request.param == "inline":
        runner: Runner = InlineRunner(OBJECTIVES)
    else:
        logs = tmp_path_factory.mktemp("ray")
        runner = RayRunner(OBJECTIVES, workers=1, bundle=Bundle(), address=None, log_dir=logs)
    yield runner
    runner.close()


@pytest.fixture
def idle(runner: Runner) -> Runner:
    wait_until_free(runner)
    return runner


def wait_until_free(runner: Runner) -> None:
    deadline = time.monotonic() + 60
    while not runner.free:
        runner.wait(1.0)
        assert time.monotonic() < deadline


def finish(runner: Runner) -> list[Message]:
    """All messages up to the last one of the one running job."""
    messages: list[Message] = []
    deadline = time.monotonic() + 60
    while not messages or isinstance(messages[-1], (Reported, Beat)):
        messages += runner.wait(1.0)
        assert time.monotonic() < deadline
    return messages


def test_reports_come_in_order_and_the_end_comes_last(idle: Runner, tmp_path: Path) -> None:
    idle.start(scripted_job(tmp_path, key="a", attempt=3, script=Script(epochs=4)))
    reports = [Reported("a", 3, {"epoch": n, "top1": n / 10}) for n in (1, 2, 3, 4)]
    assert finish(idle) == [*reports, Ended("a", 3, stopped=False)]


def test_a_runner_is_free_until_started_and_again_after_the_end(
    idle: Runner, tmp_path: Path
) -> None:
    assert idle.free == 1
    idle.start(scripted_job(tmp_path))
    assert idle.free == 0
    finish(idle)
    assert idle.free == 1


def test_an_exception_is_a_result_and_the_runner_goes_on(idle: Runner, tmp_path: Path) -> None:
    idle.start(scripted_job(tmp_path, script=Script(epochs=1, end="raise")))
    report, failed = finish(idle)
    assert isinstance(report, Reported)
    assert isinstance(failed, Failed)
    assert failed.error == "ValueError: a wrong value"
    assert "_raise_error" in failed.traceback
    idle.start(scripted_job(tmp_path, script=Script(epochs=1)))
    assert finish(idle)[-1] == Ended("trial", 1)


def test_a_report_without_an_epoch_is_a_sign_of_life(idle: Runner, tmp_path: Path) -> None:
    script = Script(epochs=1, seconds=0.02, batch_seconds=0.01, beats=True)
    idle.start(scripted_job(tmp_path, script=script))
    *beats, report, _ = finish(idle)
    assert beats
    assert set(map(type, beats)) == {Beat}
    assert isinstance(report, Reported)


def test_a_stopped_trial_ends_within_a_batch_and_its_place_is_free(
    idle: Runner, tmp_path: Path
) -> None:
    script = Script(epochs=1, seconds=600, beats=True)
    idle.start(scripted_job(tmp_path, key="a", script=script))
    while not idle.wait(1.0):
        pass
    began = time.monotonic()
    idle.stop("a")
    assert finish(idle)[-1] == Ended("a", 1, stopped=True)
    assert time.monotonic() - began < 2
    idle.start(scripted_job(tmp_path, key="b"))
    assert finish(idle)[-1] == Ended("b", 1, stopped=False)


def test_a_trial_that_was_not_asked_does_not_stop(idle: Runner, tmp_path: Path) -> None:
    idle.start(scripted_job(tmp_path, key="a", script=Script(seconds=0.05)))
    idle.stop("b")
    assert finish(idle)[-1] == Ended("a", 1, stopped=False)


def test_waiting_for_nothing_says_nothing(idle: Runner) -> None:
    assert list(idle.wait(0.01)) == []
