"""What a mirror works in: a run directory of its own, a log for its output, a tracker to reach."""

from __future__ import annotations

import fcntl
import io
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import IO

from orchestrator.errors import RunDirHeld
from orchestrator.journal import hold
from orchestrator.run_dir import RunDir
from orchestrator.tracking.address import artifact_root, masked, sqlite_file
from orchestrator.tracking.delivery import Connect
from orchestrator.tracking.records import Tracker


def connection(uri: str, run_dir: RunDir) -> Connect:
    """How to reach the tracker; MLflow is imported when it is first tried."""

    def connect(study: str) -> Tracker:
        from orchestrator.tracking.mlflow import MlflowTracker  # seconds, and 136 MB

        return MlflowTracker.connect(uri, study=study, artifacts=artifact_root(uri, run_dir))

    return connect


@contextmanager
def alone(run_dir: RunDir, *, give_up: Callable[[], bool]) -> Iterator[None]:
    """Hold the mirror's lock; one whose controller has gone needs a moment to end."""
    run_dir.root.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        while True:
            try:
                held.enter_context(hold(run_dir.mirror_lock, doing="another mirror is at work on"))
                break
            except RunDirHeld:
                if give_up():
                    raise
                time.sleep(0.2)
        yield


def controller_at_work(run_dir: RunDir) -> bool:
    """Whether a controller holds the run directory."""
    try:
        with run_dir.lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def mlflow_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables with which MLflow is to run; the user's own timeouts are left to him."""
    ours = {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        # A request repeated below us could create a run twice; the delivery looks, then repeats.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    defaults = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
        "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "30",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
    }
    return {
        **defaults,
        **{name: environment[name] for name in defaults if name in environment},
        **ours,
    }


@contextmanager
def mlflow_at_work() -> Iterator[None]:
    """MLflow's settings for the time of the context: a notebook's own are put back."""
    before = dict(os.environ)
    settings = mlflow_settings(before)
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in settings:
            os.environ.pop(name)
            if name in before:
                os.environ[name] = before[name]


@contextmanager
def fresh_database_alone(uri: str) -> Iterator[None]:
    """Of several processes that open a new SQLite file together, all but one would fail."""
    database = sqlite_file(uri)
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{database}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # waits for the others
        yield


@contextmanager
def chatter(run_dir: RunDir) -> Iterator[None]:
    """What this process prints goes to `logs/mirror.log`, without passwords."""
    run_dir.logs.mkdir(parents=True, exist_ok=True)
    with (run_dir.logs / "mirror.log").open("a", encoding="utf-8", buffering=1) as file:
        quiet = _Masking(file)
        with redirect_stdout(quiet), redirect_stderr(quiet):
            yield


class _Masking(io.TextIOBase):
    """Text on its way into a file, with the passwords of addresses masked."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, text: str) -> int:
        self._file.write(masked(text))
        return len(text)

    def flush(self) -> None:
        self._file.flush()
