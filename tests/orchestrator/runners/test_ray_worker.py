"""The worker is plain Python: most of it is tested without a second process."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.runners.base import Ended, Failed, Reported
from orchestrator.runners.ray_worker import LazyLog, Spoiled, TrialWorker, spoils_process
from orchestrator.trial import Bundle
from tests.scripted import OBJECTIVES, Script, scripted_job


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[TrialWorker]:
    for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "7")  # put back afterwards
    level = logging.getLogger().level
    worker = TrialWorker(Bundle(cpus=3), lambda: False)
    assert worker.load(pickle.dumps(OBJECTIVES)) == os.getpid()
    yield worker
    logging.getLogger().setLevel(level)


def log_of(root: Path) -> Path:
    return root / "stage" / "trials" / "trial" / "log"


def test_what_a_trial_prints_and_logs_is_in_its_log(
    worker: TrialWorker, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for attempt in (1, 2):
        list(worker.run(scripted_job(tmp_path, objective="talkative", attempt=attempt)))
    text = log_of(tmp_path).read_text()
    for line in ("printed", "to stderr", "INFO trainer: logged"):
        assert text.count(line) == 2, line
    assert text.index("== attempt 1, process") < text.index("== attempt 2, process")
    assert capfd.readouterr() == ("", "")


def test_a_trial_that_says_nothing_leaves_no_folder(worker: TrialWorker, tmp_path: Path) -> None:
    assert len(list(worker.run(scripted_job(tmp_path, objective="noop")))) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_cannot_be_written_costs_no_result(worker: TrialWorker, tmp_path: Path) -> None:
    (tmp_path / "stage").touch()
    words = list(worker.run(scripted_job(tmp_path, objective="talkative")))
    assert words == [Reported("trial", 1, {"epoch": 1}), Ended("trial", 1)]


def test_an_exception_is_the_last_word_and_in_the_log(worker: TrialWorker, tmp_path: Path) -> None:
    *_, failed = worker.run(scripted_job(tmp_path, script=Script(end="raise")))
    assert isinstance(failed, Failed)
    assert failed.error == "ValueError: a wrong value"
    assert failed.traceback in log_of(tmp_path).read_text()


def test_a_trial_that_exits_fails(worker: TrialWorker, tmp_path: Path) -> None:
    *_, failed = worker.run(scripted_job(tmp_path, script=Script(end="exit")))
    assert isinstance(failed, Failed)
    assert failed.error == "SystemExit: 3"


def test_an_unknown_objective_fails(worker: TrialWorker, tmp_path: Path) -> None:
    (failed,) = worker.run(scripted_job(tmp_path, objective="other"))
    assert isinstance(failed, Failed)
    assert failed.error == "KeyError: 'other'"


def test_a_process_that_ran_out_of_memory_is_spoiled(worker: TrialWorker, tmp_path: Path) -> None:
    *_, last = worker.run(scripted_job(tmp_path, script=Script(end="out-of-memory")))
    assert isinstance(last, Spoiled)
    assert last.failed.error == "MemoryError"


def test_a_trial_says_that_it_stopped_only_if_it_saw_the_request(tmp_path: Path) -> None:
    worker = TrialWorker(Bundle(gpus=1.0), lambda: True)
    worker.load(pickle.dumps(OBJECTIVES))
    assert list(worker.run(scripted_job(tmp_path, script=Script(seconds=9)))) == [
        Ended("trial", 1, stopped=True)
    ]
    assert list(worker.run(scripted_job(tmp_path, objective="noop")))[-1] == Ended("trial", 1)


def test_a_worker_without_a_gpu_sees_none_and_has_its_threads(
    worker: TrialWorker, tmp_path: Path
) -> None:
    report, _ = worker.run(scripted_job(tmp_path, objective="surroundings"))
    assert isinstance(report, Reported)
    assert report.report["CUDA_VISIBLE_DEVICES"] == ""
    assert report.report["OMP_NUM_THREADS"] == "3"


def test_errors_that_spoil_a_process_are_told_from_others() -> None:
    class OutOfMemoryError(RuntimeError):
        """Named like torch's."""

    wrapped = ValueError("while building")
    wrapped.__cause__ = OutOfMemoryError()
    assert spoils_process(wrapped)
    assert spoils_process(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert spoils_process(RuntimeError("CUDA error: device-side assert triggered"))
    assert not spoils_process(RuntimeError("shapes do not fit"))


def test_a_log_keeps_whole_lines_at_once(tmp_path: Path) -> None:
    log = LazyLog(tmp_path / "deep" / "log", title="title")
    log.flush()
    assert not (tmp_path / "deep").exists()
    log.write("a line\n")
    assert (tmp_path / "deep" / "log").read_text() == "title\na line\n"
    log.close()


def test_a_full_disk_is_the_machines_fault(worker: TrialWorker, tmp_path: Path) -> None:
    *_, last = worker.run(scripted_job(tmp_path, script=Script(end="fill-disk")))
    assert isinstance(last, Failed)
    assert last.environment
    assert "DiskFull" in last.traceback
