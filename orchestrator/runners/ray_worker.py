"""What happens inside one worker process of the Ray pool. Plain Python: nothing here knows Ray."""

from __future__ import annotations

import io
import logging
import os
import pickle
import socket
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from orchestrator.run_dir import RunDir
from orchestrator.runners.base import Beat, Ended, Failed, Job, Objectives, Reported
from orchestrator.runners.inline import failure
from orchestrator.trial import Bundle


@dataclass(frozen=True, slots=True)
class Spoiled:
    """A trial failed and left its process unfit for another, as out of memory does."""

    failed: Failed


Word = Reported | Beat | Ended | Failed | Spoiled


class TrialWorker:
    """One warm process: loads the objectives once, then runs trials one after another."""

    def __init__(self, bundle: Bundle, stop_requested: Callable[[], bool]) -> None:
        # Before torch is imported: OpenMP and CUDA read these once.
        os.environ.update(_surroundings(bundle))
        self._stop_requested = stop_requested
        self._objectives: Objectives = {}

    def load(self, objectives: bytes) -> int:
        """Import all that the pickled objectives need; returns the process id."""
        self._objectives = pickle.loads(objectives)
        logging.getLogger().setLevel(logging.INFO)
        return os.getpid()

    def run(self, job: Job) -> Iterator[Word]:
        """Yield the job's messages. An exception is the last of them, never raised."""
        with _captured(_log_of(job)):
            yield from self._words(job)

    def _words(self, job: Job) -> Iterator[Word]:
        key, attempt = job.spec.key, job.attempt
        stopped = False

        def should_stop() -> bool:
            nonlocal stopped
            stopped = stopped or self._stop_requested()
            return stopped

        try:
            for report in self._objectives[job.spec.objective](job, should_stop):
                yield (Reported if "epoch" in report else Beat)(key, attempt, report)
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            failed = failure(key, attempt, error)
            yield Spoiled(failed) if spoils_process(error) else failed
        else:
            yield Ended(key, attempt, stopped=stopped)


def _surroundings(bundle: Bundle) -> Mapping[str, str]:
    threads = str(max(bundle.cpus, 1))
    variables = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    if not bundle.gpus:  # Ray leaves it unset, and then a trial on CPUs would see every GPU
        variables["CUDA_VISIBLE_DEVICES"] = ""
    return variables


def spoils_process(error: BaseException | None) -> bool:
    """Whether the process should not be trusted with another trial after this error.

    After an out-of-memory error the heap stays large and fragmented; after a failed kernel every
    later call on the same CUDA context fails too.
    """
    while error is not None:
        # torch.OutOfMemoryError and torch.AcceleratorError, by name: torch may not be loaded.
        if isinstance(error, MemoryError) or type(error).__name__ in _SPOILING:
            return True
        if "can't allocate memory" in str(error) or "CUDA error" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


_SPOILING = {"OutOfMemoryError", "AcceleratorError"}


class LazyLog(io.TextIOBase):
    """A log file that comes into being with its first line, and costs no trial its result."""

    def __init__(self, path: Path, *, title: str) -> None:
        self._path, self._title = path, title
        self._file: IO[str] | None = None

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Append the text; a line is on disk when it is whole, so that a crash keeps it."""
        try:
            self._open().write(text)
        except OSError:  # a full disk is reported by what needs it, not by a print
            return 0
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:  # type: ignore[override]
        """Append the lines."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        if self._file is not None and not self._file.closed:
            self._file.flush()

    def close(self) -> None:
        """Close the file, if there ever was one."""
        if self._file is not None:
            self._file.close()
        super().close()

    def _open(self) -> IO[str]:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", buffering=1, encoding="utf-8", errors="replace")
            self._file.write(f"{self._title}\n")
        return self._file


def _log_of(job: Job) -> LazyLog:
    trial = RunDir(job.workspace.run_root).trial(job.spec.stage, job.spec.key)
    where = f"process {os.getpid()} on {socket.gethostname()}"
    return LazyLog(trial / "log", title=f"== attempt {job.attempt}, {where}")


@contextmanager
def _captured(log: LazyLog) -> Iterator[None]:
    """What the trial prints, logs and warns goes to its log."""
    handler = logging.StreamHandler(log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    with closing(log), redirect_stdout(log), redirect_stderr(log), warnings.catch_warnings():
        warnings.simplefilter("default")  # once per trial, not once per process
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)
