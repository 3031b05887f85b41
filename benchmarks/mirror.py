"""Whether a tracker slows training: two cores kept busy, with trackers at their worst."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.driving import WORKERS, Clock, run, warm_workers
from benchmarks.harness import Row, in_fresh_process, in_turn, scratch
from orchestrator.history import Decision, History
from orchestrator.run_dir import RunDir, write_json
from orchestrator.runners.base import Job, Objectives
from orchestrator.trial import Report, TrialSpec
from trainer.config import Strict

SLOW_SECONDS = 2.0
"""An answer of the slow server."""
EPOCHS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Toil(Strict):
    """A trial that computes."""

    number: int
    seconds: float
    """Of processor time, for each of `EPOCHS` reports."""


def toil(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Compute, and report as a training run does."""
    config = job.spec.config
    assert isinstance(config, Toil)
    for epoch in range(1, EPOCHS + 1):
        end = time.thread_time() + config.seconds
        while time.thread_time() < end:
            sum(range(1000))
        yield {"epoch": epoch, "top1": 0.5, "loss": 1.0, "lr": 0.1, "images_per_second": 1e3}


OBJECTIVES: Objectives = {"toil": toil}


@dataclass(frozen=True)
class Toils:
    """A stage of so many trials of a second of processor time."""

    count: int
    name: str = "toils"
    question: dict[str, Any] = field(default_factory=dict)

    @property
    def cost(self) -> dict[str, Any]:
        """One trial each."""
        return {"trials": self.count, "epochs": self.count * EPOCHS}

    def propose(self, history: History, *, count: int, seed: int) -> Sequence[TrialSpec]:
        """The next ones."""
        start = len(history)
        return [
            TrialSpec(
                key=f"toil-{number}",
                stage=self.name,
                objective="toil",
                config=Toil(number=number, seconds=1 / EPOCHS),
                labels={"name": f"toil {number}"},
            )
            for number in range(start, min(start + count, self.count))
        ]

    def decide(self, history: History) -> Decision | None:
        """Never."""
        return None

    def reduce(self, history: History) -> dict[str, Any]:
        """Nothing."""
        return {}


def measure(quick: bool) -> Iterator[Row]:
    """The wall time of the same trials with each kind of tracker, and without any.

    Of the second half of them: a mirror takes three seconds to import MLflow, once in a run.
    """
    trials = 4 if quick else 60
    walls = in_turn({name: partial(_wall, name, trials) for name in TRACKERS}, rounds=1)
    seconds = {name: median(values) for name, values in walls.items()}
    alone = seconds.pop("none")
    for name, with_it in seconds.items():
        yield Row(
            name=f"mirror-{name}",
            ours=with_it,
            peer=alone,
            peer_name="no tracker",
            unit=f"s for {trials // 2} trials of a second on {WORKERS} cores",
            goal=0.95,
            bound="the mirror's own work, which shares the two cores with the trials",
        )


def _wall(tracker: str, trials: int) -> float:
    with scratch() as folder:
        return in_fresh_process(wall_seconds, folder, tracker, trials)


def wall_seconds(folder: Path, tracker: str, trials: int) -> float:
    """From the end of the first half of the trials to that of the last."""
    from orchestrator.tracking.mirror import start_mirror

    run_dir, clock = RunDir(folder / "run"), Clock()
    write_json(run_dir.description, {"command": "toils", "config": {}})
    with ExitStack() as stack:
        uri = stack.enter_context(TRACKERS[tracker](folder))
        runner = stack.enter_context(warm_workers(folder / "logs", OBJECTIVES))
        if uri is not None:
            stack.enter_context(start_mirror(run_dir, uri, run_dir.logs))
        run(run_dir.root, Toils(trials), runner, clock=clock)
    assert len(clock.ends) == trials, "a trial failed"
    return clock.ends[-1] - clock.ends[trials // 2 - 1]


@contextmanager
def _none(folder: Path) -> Iterator[str | None]:
    yield None


@contextmanager
def _database(folder: Path) -> Iterator[str | None]:
    yield f"sqlite:///{folder / 'mlflow.db'}"


@contextmanager
def _dead(folder: Path) -> Iterator[str | None]:
    yield "http://127.0.0.1:9"  # the discard port, at which nothing answers


@contextmanager
def _slow(folder: Path) -> Iterator[str | None]:
    with _server(wait=SLOW_SECONDS) as uri:
        yield uri


@contextmanager
def _refusing(folder: Path) -> Iterator[str | None]:
    with _server(wait=0.0) as uri:
        yield uri


TRACKERS = {
    "none": _none,
    "database": _database,
    "dead-server": _dead,
    "slow-server": _slow,
    "refusing-server": _refusing,
}


@contextmanager
def _server(*, wait: float) -> Iterator[str]:
    """A server that says no to everything, after a while."""

    class No(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            time.sleep(wait)
            body = json.dumps({"error_code": "TEMPORARILY_UNAVAILABLE"}).encode()
            self.send_response(503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = answer

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), No)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
