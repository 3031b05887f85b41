"""What only processes can show: death, silence, and what is left behind."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from orchestrator.errors import NotReady, UsageError
from orchestrator.runners.base import (
    Beat,
    Ended,
    Failed,
    Lost,
    Message,
    Objectives,
    Reported,
)
from orchestrator.runners.ray_pool import RayRunner
from orchestrator.runners.ray_session import RaySession
from orchestrator.trial import Bundle
from tests.scripted import OBJECTIVES, Script, scripted_job


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One Ray for the whole module; the runners of the tests find it and join."""
    logs = tmp_path_factory.mktemp("ray")
    session = RaySession(address=None, cpus=4, gpus=0, log_dir=logs)
    yield logs
    session.close()


@pytest.fixture(scope="module")
def module_runner(logs: Path) -> Iterator[RayRunner]:
    with closing(new_runner(logs)) as runner:
        yield runner


@pytest.fixture
def runner(module_runner: RayRunner) -> RayRunner:
    """A worker that waits patiently."""
    wait_until(lambda: module_runner.free == 1, module_runner)
    return module_runner


@pytest.fixture(scope="module")
def module_impatient(logs: Path) -> Iterator[RayRunner]:
    with closing(
        new_runner(logs, silence_seconds=2.0, startup_seconds=4.0, grace_seconds=0.5)
    ) as runner:
        yield runner


@pytest.fixture
def impatient(module_impatient: RayRunner) -> RayRunner:
    """A worker lost after two seconds of silence, four at the start, half a one when stopped."""
    wait_until(lambda: module_impatient.free == 1, module_impatient)
    return module_impatient


def new_runner(
    logs: Path, *, workers: int = 1, objectives: Objectives = OBJECTIVES, **seconds: float
) -> RayRunner:
    return RayRunner(
        objectives, workers=workers, bundle=Bundle(), address=None, log_dir=logs, **seconds
    )


def wait_until(condition: Callable[[], bool], runner: RayRunner) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        runner.wait(0.2)
        assert time.monotonic() < deadline


def finish(runner: RayRunner) -> list[Message]:
    messages: list[Message] = []
    deadline = time.monotonic() + 60
    while not messages or isinstance(messages[-1], (Reported, Beat)):
        messages += runner.wait(1.0)
        assert time.monotonic() < deadline
    return messages


def worker_id(runner: RayRunner, root: Path) -> int:
    """The process of a runner's one worker."""
    wait_until(lambda: runner.free == 1, runner)
    runner.start(scripted_job(root, objective="surroundings"))
    report, _ = finish(runner)
    assert isinstance(report, Reported)
    pid: int = report.report["pid"]
    return pid


@pytest.mark.parametrize("end", ["kill", "crash"])
def test_a_dead_worker_is_lost_at_once_and_replaced(
    runner: RayRunner, tmp_path: Path, end: str
) -> None:
    before = worker_id(runner, tmp_path)
    runner.start(scripted_job(tmp_path, key="a", attempt=2, script=Script(end=end)))
    assert isinstance(runner.wait(30)[0], Reported)
    began = time.monotonic()
    lost = finish(runner)[-1]  # the last report may be on its way when the process dies
    assert time.monotonic() - began < 1
    assert lost == Lost("a", 2, "its process was killed or crashed")
    assert runner.free == 0  # the new one has not answered yet
    assert worker_id(runner, tmp_path) != before


def test_running_out_of_memory_is_a_result_and_takes_the_worker_along(
    runner: RayRunner, tmp_path: Path
) -> None:
    before = worker_id(runner, tmp_path)
    runner.start(scripted_job(tmp_path, script=Script(end="out-of-memory")))
    failed = finish(runner)[-1]
    assert isinstance(failed, Failed)
    assert failed.error == "MemoryError"
    assert worker_id(runner, tmp_path) != before


def test_a_worker_stays_warm_from_trial_to_trial(runner: RayRunner, tmp_path: Path) -> None:
    before = worker_id(runner, tmp_path)
    runner.start(scripted_job(tmp_path, script=Script(end="raise")))
    finish(runner)
    assert worker_id(runner, tmp_path) == before


def test_a_report_that_cannot_travel_fails_its_trial_only(
    runner: RayRunner, tmp_path: Path
) -> None:
    runner.start(scripted_job(tmp_path, objective="unpicklable"))
    (failed,) = finish(runner)
    assert isinstance(failed, Failed)
    assert "TypeError: cannot pickle 'frame' object" in failed.error
    worker_id(runner, tmp_path)


@pytest.mark.parametrize("end", ["freeze", "stuck"])
def test_a_silent_worker_is_lost_and_replaced(
    impatient: RayRunner, tmp_path: Path, end: str
) -> None:
    before = worker_id(impatient, tmp_path)
    impatient.start(scripted_job(tmp_path, script=Script(end=end)))
    lost = finish(impatient)[-1]
    assert isinstance(lost, Lost)
    assert lost.reason.startswith("no sign of life for ")
    assert worker_id(impatient, tmp_path) != before


def test_a_trial_may_take_long_to_begin(impatient: RayRunner, tmp_path: Path) -> None:
    impatient.start(scripted_job(tmp_path, objective="quiet-start"))
    assert finish(impatient)[-1] == Ended("trial", 1)


def test_a_trial_that_never_begins_is_lost(impatient: RayRunner, tmp_path: Path) -> None:
    impatient.start(scripted_job(tmp_path, script=Script(seconds=60)))
    assert finish(impatient) == [Lost("trial", 1, "no sign of life for 4 s")]


@pytest.mark.slow  # its seconds stretch on a busy machine
def test_five_of_the_longest_pauses_so_far_are_forgiven(
    impatient: RayRunner, tmp_path: Path
) -> None:
    impatient.start(scripted_job(tmp_path, objective="slower-and-slower"))
    assert finish(impatient)[-1] == Ended("trial", 1)


@pytest.mark.slow  # its seconds stretch on a busy machine
def test_silence_while_nobody_listens_does_not_count(impatient: RayRunner, tmp_path: Path) -> None:
    impatient.start(scripted_job(tmp_path, script=Script(epochs=2, seconds=3.5)))
    assert isinstance(impatient.wait(30)[0], Reported)
    time.sleep(3.0)  # the controller has other things to do
    assert finish(impatient)[-1] == Ended("trial", 1)


@pytest.mark.slow  # its seconds stretch on a busy machine
def test_a_trial_that_does_not_stop_in_time_is_lost(impatient: RayRunner, tmp_path: Path) -> None:
    impatient.start(scripted_job(tmp_path, script=Script(epochs=1, end="deaf")))
    assert isinstance(impatient.wait(30)[0], Reported)
    impatient.stop("trial")
    assert finish(impatient) == [Lost("trial", 1, "did not stop when it was asked to")]
    worker_id(impatient, tmp_path)


def test_a_trial_that_is_stopped_before_it_began_says_so(runner: RayRunner, tmp_path: Path) -> None:
    runner.start(scripted_job(tmp_path, script=Script(seconds=60)))
    runner.stop("trial")
    assert finish(runner) == [Ended("trial", 1, stopped=True)]


def test_a_worker_whose_trial_was_stopped_on_its_way_takes_the_next_one_at_once(
    runner: RayRunner, tmp_path: Path
) -> None:
    for _ in range(8):
        runner.start(scripted_job(tmp_path, script=Script(seconds=60)))
        runner.stop("trial")
        assert finish(runner) == [Ended("trial", 1, stopped=True)]
        assert worker_id(runner, tmp_path) > 0


def test_two_trials_run_at_once(logs: Path, tmp_path: Path) -> None:
    with closing(new_runner(logs, workers=2)) as runner:
        wait_until(lambda: runner.free == 2, runner)
        keys = keys_of_two(runner, tmp_path)
    assert sorted(keys) == ["a"] * 4 + ["b"] * 4
    assert keys not in (["a"] * 4 + ["b"] * 4, ["b"] * 4 + ["a"] * 4)


def keys_of_two(runner: RayRunner, tmp_path: Path) -> list[str]:
    for key in ("a", "b"):
        runner.start(scripted_job(tmp_path, key=key, script=Script(epochs=3, seconds=0.3)))
    messages: list[Message] = []
    while runner.free < 2:
        messages += runner.wait(1.0)
    return [message.key for message in messages]


def test_a_worker_without_a_gpu_sees_none(runner: RayRunner, tmp_path: Path) -> None:
    runner.start(scripted_job(tmp_path, objective="surroundings"))
    report, _ = finish(runner)
    assert isinstance(report, Reported)
    assert report.report["CUDA_VISIBLE_DEVICES"] == ""


def test_what_a_worker_prints_and_warns_is_in_the_log_of_its_trial(
    runner: RayRunner, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for attempt, objective in enumerate(("talkative", "warning", "warning")):
        runner.start(scripted_job(tmp_path, objective=objective, attempt=attempt))
        finish(runner)
    log = (tmp_path / "stage" / "trials" / "trial" / "log").read_text()
    assert "printed\nto stderr\n" in log
    assert log.count("UserWarning: warned") == 2
    assert capfd.readouterr() == ("", "")


def test_a_trial_of_several_processes_is_refused(runner: RayRunner, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="asks for 2 processes"):
        runner.start(scripted_job(tmp_path, resources=(Bundle(), Bundle())))


def test_a_trial_that_needs_more_than_a_worker_has_is_refused(
    runner: RayRunner, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="a worker has"):
        runner.start(scripted_job(tmp_path, resources=(Bundle(cpus=2),)))


def test_workers_that_cannot_load_the_objectives_end_the_run(logs: Path) -> None:
    objectives = {"broken": partial(_Unloadable())}
    with closing(new_runner(logs, objectives=objectives)) as runner:
        error = "the workers do not start: ModuleNotFoundError"
        with pytest.raises(NotReady, match=error):
            wait_until(lambda: False, runner)


class _Unloadable:
    def __call__(self, *_: object) -> Iterator[dict[str, object]]:
        raise NotImplementedError

    def __reduce__(self) -> tuple[object, ...]:
        return __import__, ("a_module_that_only_the_driver_has",)


def test_closing_a_runner_in_a_session_of_others_ends_its_workers_only(
    logs: Path, runner: RayRunner, tmp_path: Path
) -> None:
    other = new_runner(logs)
    process = psutil.Process(worker_id(other, tmp_path))
    other.close()
    assert psutil.wait_procs([process], timeout=5)[1] == []
    worker_id(runner, tmp_path)


@pytest.mark.parametrize("address", ["ray://host:10001", "http://127.0.0.1:8265", "head"])
def test_an_address_that_cannot_work_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match="--ray-address") as caught:
        RaySession(address=address, cpus=None, gpus=None, log_dir=tmp_path)
    assert "\n" not in str(caught.value)


def test_an_address_where_nothing_answers_is_said_at_once(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(NotReady, match=r"nothing answers at 127\.0\.0\.1:9"):
        RaySession(address="127.0.0.1:9", cpus=None, gpus=None, log_dir=tmp_path)
    assert time.monotonic() - began < 6


DRIVER = """
import sys
from pathlib import Path
from orchestrator.runners.base import Lost
from orchestrator.runners.ray_pool import RayRunner
from orchestrator.trial import Bundle
from tests.scripted import OBJECTIVES, Script, scripted_job

root = Path(sys.argv[1])
runner = RayRunner(OBJECTIVES, workers=2, bundle=Bundle(), address=None, log_dir=root / "logs")
while runner.free < 2:
    runner.wait(1.0)
runner.start(scripted_job(root, key="a", script=Script(end=sys.argv[2])))
runner.start(scripted_job(root, key="b", script=Script(seconds=3600)))
lost = []
while not lost:
    lost = [message.reason for message in runner.wait(30) if isinstance(message, Lost)]
while not runner.free:
    runner.wait(1.0)
(root / "seen").write_text(lost[0])
sys.stdin.readline()
runner.close()
(root / "closed").touch()
sys.stdin.readline()
"""


@contextmanager
def driver(root: Path, *, end: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A process with a runner of its own, past the death of one worker, another one busy."""
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(root), end],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "HOME": str(root), "RAY_AUTH_MODE": "token", **environment},
    )
    try:
        wait_for(root / "seen", process)
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def say(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_a_local_ray_listens_on_loopback_prints_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    with driver(tmp_path, end="kill") as process:
        children = psutil.Process(process.pid).children(recursive=True)
        sockets = [
            connection.laddr.ip
            for child in [psutil.Process(process.pid), *children]
            for connection in child.net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]
        assert any("gcs_server" in child.name() for child in children)
        assert sockets
        assert set(sockets) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}

        say(process)
        began = time.monotonic()
        wait_for(tmp_path / "closed", process)
        assert time.monotonic() - began < 5
        assert alive(children) == []

        say(process)
        assert process.communicate(timeout=30)[0] == ""
    assert not (tmp_path / ".ray").exists()
    sessions = list((tmp_path / "logs" / "ray").iterdir())
    assert len(sessions) == 1  # a worker died, so Ray's logs are kept
    assert not (Path("/tmp/ray") / sessions[0].name).exists()


def test_a_killed_driver_leaves_no_worker_after_five_seconds(tmp_path: Path) -> None:
    with driver(tmp_path, end="kill") as process:
        children = psutil.Process(process.pid).children(recursive=True)
        # Ray's two agents hold nothing, and outlive it for a minute in which they try to report.
        working = [child for child in children if not child.name().endswith("Agent")]
        assert len(trial_workers(psutil.Process(process.pid))) == 2
        process.kill()
        _, left = psutil.wait_procs(working, timeout=5)
        assert alive(left) == []


class Head(NamedTuple):
    process: psutil.Process
    environment: dict[str, str]
    """What a client needs."""


@pytest.fixture
def head() -> Iterator[Head]:
    """A cluster of one node."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    command = ["start", "--head", "--block", f"--port={port}", "--num-cpus=2"]
    ray = subprocess.Popen(
        [Path(sys.executable).with_name("ray"), *command, "--include-dashboard=false"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A folder of its own: `auto`, elsewhere on this machine, must not find this head.
        env={**os.environ, **token, "RAY_TMPDIR": tempfile.mkdtemp(prefix="head", dir="/tmp")},
    )
    try:
        wait_for_port(port)
        yield Head(psutil.Process(ray.pid), {**token, "RAY_ADDRESS": f"127.0.0.1:{port}"})
        assert ray.poll() is None, "the cluster has outlived its clients"
    finally:
        ray.terminate()
        ray.wait(30)


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_cluster_is_joined_and_left_as_it_was(head: Head, tmp_path: Path) -> None:
    with driver(tmp_path, end="kill", **head.environment) as process:
        assert psutil.Process(process.pid).children() == []
        assert len(trial_workers(head.process)) == 2
        say(process)
        wait_for(tmp_path / "closed", process)
        say(process)
        assert process.communicate(timeout=30)[0] == ""
    assert trial_workers(head.process) == []


def trial_workers(above: psutil.Process) -> list[psutil.Process]:
    family = above.children(recursive=True)
    return [child for child in family if child.name().startswith("ray::TrialWorker")]


@pytest.mark.slow
def test_a_cluster_that_wants_a_token_is_not_joined_without(head: Head, tmp_path: Path) -> None:
    del head.environment["RAY_AUTH_TOKEN"]
    with (
        pytest.raises(AssertionError, match=r"NotReady: cannot join Ray at .*: it wants a token"),
        driver(tmp_path, end="kill", **head.environment),
    ):
        pass


@pytest.mark.slow
def test_a_worker_that_fills_the_memory_is_lost_for_that_reason(tmp_path: Path) -> None:
    used = psutil.virtual_memory()
    threshold = 1 - (used.available - 2**30) / used.total
    with driver(tmp_path, end="fill-memory", RAY_memory_usage_threshold=f"{threshold:.3f}"):
        reason = (tmp_path / "seen").read_text()
        assert reason == "out of memory: ended by Ray to keep its machine alive"
