"""The mirror: a run's journal carried to MLflow, in a process of its own.

The controller starts it with `start_mirror` and never imports MLflow; whatever becomes of the
mirror or its server, training goes on. `sync` does the same work once, for a run that is over or
was mirrored in part. What is sent is looked up first, so that any number of mirrors, each ended
anywhere, leave what one undisturbed mirror leaves.
"""

from __future__ import annotations

import argparse
import logging
import os
import select
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from orchestrator.errors import NotReady, RunDirHeld, UsageError
from orchestrator.run_dir import RunDir
from orchestrator.tracking import address
from orchestrator.tracking.address import masked
from orchestrator.tracking.delivery import POLL, Control, Delivery
from orchestrator.tracking.workplace import (
    alone,
    chatter,
    connection,
    controller_at_work,
    mlflow_at_work,
)

log = logging.getLogger(__name__)

_MODULE = "orchestrator.tracking.mirror"
INCOMPLETE = 75
"""Exit code of a mirror that leaves something for a later one."""
_LAST_WORDS = 2.0
"""Seconds for what is left once the controller is gone; at `_HARD_END` it ends wherever it is."""
_HARD_END = 2.6
_PREDECESSOR = 4.0
"""Seconds that a mirror whose controller has gone may still be at work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncSummary:
    """What one synchronisation did."""

    uri: str
    """Where to, without passwords."""
    runs: int
    """Runs looked after: the study, its stages, its trials."""
    points: int
    """Metric values that were missing there."""
    models: int = 0
    """Models that were missing there."""
    refused: tuple[str, ...]
    """A line for each run or model that the server would not take."""


class MirrorProcess:
    """The mirror as the controller sees it: a child at the other end of a pipe."""

    def __init__(self, run_dir: RunDir, uri: str | None, log_dir: Path) -> None:
        self._run_dir = run_dir
        self._given = uri
        self._uri = address.tracking_uri(run_dir, uri)
        self._log = log_dir / "mirror.log"
        self._process = self._spawn()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The child's process number."""
        return self._process.pid

    def finish(self, timeout: float = 60.0) -> str:
        """Let it catch up and end; return "" or one line on how to send what is missing."""
        until = time.monotonic() + timeout
        for _ in range(2):  # one that died on the way is replaced once: replay makes no duplicates
            if self._process.poll() is not None:
                self.stop()
                self._process = self._spawn()
            code = self._end(until)
            if code == 0:
                self.stop()
                return ""
            if code in (None, INCOMPLETE):
                break
        self.stop()
        return self._what_is_left()

    def stop(self) -> None:
        """Close the pipe, as the controller's death would: within 3 s the mirror is gone."""
        with suppress(BrokenPipeError):
            self._pipe.close()
        try:
            self._process.wait(_HARD_END + 0.4)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _end(self, until: float) -> int | None:
        with suppress(BrokenPipeError):
            self._pipe.write(b"end\n")
            self._pipe.flush()
        try:
            return self._process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None

    @property
    def _pipe(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        package_root = str(Path(__file__).resolve().parents[2])
        environment = {
            **os.environ,
            # Not on the command line, which every user of the machine can read.
            "MLFLOW_TRACKING_URI": self._uri,
            "PYTHONPATH": os.pathsep.join(
                filter(None, (package_root, os.environ.get("PYTHONPATH")))
            ),
            "OMP_NUM_THREADS": "1",
        }
        with self._log.open("ab") as output:
            return subprocess.Popen(
                # -P: a file of the user's that is called mlflow.py is not what we mean.
                [sys.executable, "-P", "-m", _MODULE, str(self._run_dir.root.resolve())],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=environment,
                process_group=0,  # a Ctrl-C of the terminal is for the controller
            )

    def _what_is_left(self) -> str:
        command = ["orchestrator", "mlflow-sync", "--run-dir", str(self._run_dir.root)]
        if self._given:
            command += ["--tracking-uri", masked(self._given)]
        return (
            f"MLflow at {masked(self._uri)} does not have everything yet (see {self._log}); "
            f"send the rest with: {shlex.join(command)}"
        )


def start_mirror(run_dir: RunDir, tracking_uri: str | None, log_dir: Path) -> MirrorProcess:
    """Start the mirror of a run; its output goes to `log_dir/mirror.log`.

    Raises:
        UsageError: an address that MLflow has no store for.
    """
    return MirrorProcess(run_dir, tracking_uri, log_dir)


def sync(run_dir: RunDir, *, tracking_uri: str | None, until_end: bool) -> SyncSummary:
    """Carry the journal to MLflow in this process.

    With `until_end`, up to where the journal ends now; else on and on, until interrupted.

    Raises:
        UsageError: no journal there, or an address that MLflow has no store for.
        RunDirHeld: another mirror is at work.
        NotReady: the server cannot be reached; what was sent stays.
    """
    uri = address.tracking_uri(run_dir, tracking_uri)
    if not run_dir.journal.is_file():
        raise UsageError(f"--run-dir: '{run_dir.root}' holds no journal")
    control = Control()
    if until_end:
        control.end()
    delivery = Delivery(run_dir, connection(uri, run_dir), control)
    held_for_good = time.monotonic() + _PREDECESSOR
    mine = alone(run_dir, give_up=lambda: time.monotonic() > held_for_good)
    with mine, chatter(run_dir), mlflow_at_work():
        delivery.run(interrupted=lambda: not controller_at_work(run_dir))
    tally = delivery.tally
    if tally.failure:
        raise NotReady(
            f"MLflow at {masked(uri)} did not take everything ({tally.points} points sent): "
            f"{tally.failure}; run it again later"
        )
    refused = tuple(f"{ref}: {reason}" for ref, reason in tally.refused.items())
    return SyncSummary(
        uri=masked(uri),
        runs=len(tally.runs),
        points=tally.points,
        models=tally.models,
        refused=refused,
    )


def main(arguments: list[str] | None = None) -> int:
    """The child's entry: `python -m orchestrator.tracking.mirror RUN_DIR`, a pipe as its input."""
    parser = argparse.ArgumentParser(prog="orchestrator.tracking.mirror")
    parser.add_argument("run_dir", type=Path)
    run_dir = RunDir(parser.parse_args(arguments).run_dir)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the pipe says when to end
    os.nice(19)  # training goes first: Ray gives its workers 15
    control = Control()
    threading.Thread(target=_listen, args=(sys.stdin.fileno(), control), daemon=True).start()
    with chatter(run_dir), mlflow_at_work():
        logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
        try:
            with alone(run_dir, give_up=lambda: control.expired):
                complete = _mirror(run_dir, control)
        except RunDirHeld as error:
            log.warning("%s", error)
            return INCOMPLETE
    return 0 if complete else INCOMPLETE


def _mirror(run_dir: RunDir, control: Control) -> bool:
    uri = address.tracking_uri(run_dir, os.environ.get("MLFLOW_TRACKING_URI"))
    log.info("mirroring %s to %s", run_dir.root, masked(uri))
    delivery = Delivery(run_dir, connection(uri, run_dir), control)
    complete = delivery.run(interrupted=lambda: True)
    verdict = "complete" if complete else "the rest is for a later mirror"
    log.info("%d points sent; %s", delivery.tally.points, verdict)
    return complete


def _listen(pipe: int, control: Control) -> None:
    """End when the controller says so, or is gone."""
    parent = os.getppid()
    while os.getppid() == parent:  # a forked process of the controller's may keep the pipe open
        if not select.select([pipe], [], [], POLL)[0]:
            continue
        if not os.read(pipe, 64):
            break
        control.end()
    control.end(within=_LAST_WORDS)
    time.sleep(_HARD_END)
    os._exit(INCOMPLETE)  # in the middle of whatever it is: replay finds out


if __name__ == "__main__":
    sys.exit(main())
