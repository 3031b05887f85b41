"""Searches as processes of their own, and every process that came of them."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from orchestrator.journal import read_events
from orchestrator.run_dir import RunDir

REPOSITORY = Path(__file__).parents[3]
STAGE = "search-scaling"
OPTIONS = shlex.split("""
--dataset digits --resolution 16 --epochs 5 --seeds 1 --workers 2 --controls none
--constraint formula --grid-step 0.25 --tolerance 0.25 --grid-max 1.5 --set finalists=2
--set train.data.train_images=192 --set train.data.selection_fraction=0.1
--set train.batch_size=16 --set train.optim.lr=0.4 --set train.ema_decay=0
--set train.model.norm_momentum=0.5 --set train.schedule.warmup_epochs=0
""")
"""Four networks raced over five epochs, one dropped on the way, the best two trained again."""
ORPHAN_SECONDS = 5.0
"""How long a process may outlive its controller."""
PATIENCE = 900.0


@dataclass(frozen=True)
class Place:
    """A folder in which one fault happens."""

    root: Path

    @property
    def run(self) -> RunDir:
        """The run that is disturbed."""
        return RunDir(self.root / "run")

    def events(self, kind: str | None = None) -> list[dict[str, Any]]:
        """What the journal holds by now, of one kind or all."""
        events = [event for event, _ in read_events(self.run.journal)[0]]
        return [event for event in events if kind in (None, event["event"])]


class Session:
    """One controller at work on a place's run."""

    def __init__(self, place: Place, *options: str, **environment: str) -> None:
        self.place = place
        self._family: set[psutil.Process] = set()
        self._counting = threading.Lock()
        self._orphans: list[str] = []
        self._errors = place.root / f"stderr-{time.monotonic_ns()}"
        self._process = self._start(options, environment)
        self.pid = self._process.pid
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        self._census = threading.Thread(target=self._look_for_orphans, daemon=True)

    def _start(self, options: tuple[str, ...], more: dict[str, str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.integration.faults.entry", STAGE, *OPTIONS]
        command += ["--run-dir", str(self.place.run.root), *options]
        environment = {
            **os.environ,
            "PYTHONPATH": str(REPOSITORY),
            "XDG_CACHE_HOME": str(self.place.root.parent / "cache"),
            "MLFLOW_TRACKING_URI": "",
            **more,
        }
        with self._errors.open("wb") as errors:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=environment,
                cwd=self.place.root,
                process_group=0,
            )

    @property
    def said(self) -> list[str]:
        """The lines on standard error."""
        return self._errors.read_text().splitlines()

    def until(self, condition: Callable[[], bool]) -> bool:
        """Wait for something while the controller runs; whether it came before the end."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self._process.poll() is not None:
                return False
            assert time.monotonic() < deadline, f"nothing came of waiting: {self.said}"
            time.sleep(0.1)
        return True

    def until_reports(self, more: int) -> None:
        """Wait until the journal has so many more reports than now."""
        wanted = len(self.place.events("report")) + more
        assert self.until(lambda: len(self.place.events("report")) >= wanted), self.said

    def end(self, number: int | None = None) -> int:
        """Send a signal, if one is given, and wait for the end; the exit code."""
        if number == signal.SIGKILL:
            self._process.send_signal(signal.SIGSTOP)  # so that nobody is born while we count
            self._note_family()
        if number is not None:
            self._process.send_signal(number)
        code = self._process.wait(PATIENCE)
        self._watcher.join()
        self._census.start()
        return code

    @property
    def orphans(self) -> list[str]:
        """The processes that outlived the controller too long; known after that time."""
        self._census.join()
        return self._orphans

    def members(self, name: str) -> list[psutil.Process]:
        """The living processes of this controller with a text in their command line."""
        return [process for process in self._living() if name in _command_line(process)]

    def _watch(self) -> None:
        while self._process.poll() is None:
            self._note_family()
            time.sleep(0.5)

    def _note_family(self) -> None:
        with self._counting:
            for process in [_process(self.pid), *self._family]:
                if process is not None:
                    with suppress(psutil.NoSuchProcess):
                        self._family.update(process.children(recursive=True))

    def _living(self) -> list[psutil.Process]:
        self._note_family()
        return [p for p in self._family if p.is_running() and _status(p) != psutil.STATUS_ZOMBIE]

    def _look_for_orphans(self) -> None:
        deadline = time.monotonic() + ORPHAN_SECONDS
        while (living := self._living()) and time.monotonic() < deadline:
            time.sleep(0.05)
        self._orphans = [_command_line(process)[:60] for process in living]
        for process in living:
            process.kill()


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _status(process: psutil.Process) -> str:
    try:
        return process.status()
    except psutil.NoSuchProcess:
        return psutil.STATUS_ZOMBIE


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
