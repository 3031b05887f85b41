import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from orchestrator.runners.reaper import descendants, kill

CONTROLLER = """
import subprocess, sys, time
from orchestrator.runners.reaper import Reaper
reaper = Reaper()
grandchild = "import subprocess, sys, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", grandchild], start_new_session=True)
print("ready", flush=True)
{ending}
"""


def family(ending: str) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    """A controller with a reaper, a child in a session of its own, and a grandchild."""
    controller = subprocess.Popen(
        [sys.executable, "-c", CONTROLLER.format(ending=ending)], stdout=subprocess.PIPE, text=True
    )
    assert controller.stdout is not None
    with controller.stdout:
        assert controller.stdout.readline() == "ready\n"
    deadline = time.monotonic() + 20
    while True:
        below = psutil.Process(controller.pid).children(recursive=True)
        if any("sleep" in p.name() for p in below) or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    time.sleep(1.5)  # the reaper looks once a second
    return controller, below


def running(process: psutil.Process) -> bool:
    """Whether it still does anything: a dead process stays listed until its parent asks."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the reaper reads /proc")
def test_what_a_killed_controller_leaves_behind_is_ended_within_5_seconds() -> None:
    controller, below = family("time.sleep(60)")
    assert len(below) >= 3
    controller.kill()
    controller.wait()
    _, left = psutil.wait_procs(below, timeout=5)
    assert not any(running(process) for process in left)


def test_after_a_farewell_nobody_is_killed() -> None:
    controller, below = family("reaper.dismiss()\ntime.sleep(60)")
    controller.kill()
    controller.wait()
    time.sleep(5)
    sleepers = [process for process in below if running(process)]
    for process in sleepers:
        process.kill()
    assert len(sleepers) == 2


def test_descendants_are_children_and_theirs_without_the_one_left_out() -> None:
    child = subprocess.Popen(["sleep", "60"])
    other = subprocess.Popen(["sleep", "60"])
    try:
        numbers = [number for number, _ in descendants(os.getpid(), besides=other.pid)]
        assert child.pid in numbers
        assert other.pid not in numbers
    finally:
        for process in (child, other):
            process.kill()
            process.wait()


def test_a_number_that_was_taken_over_is_left_alone() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        kill({(child.pid, 1): None})  # started at another time
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()
