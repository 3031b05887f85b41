"""Trials in this process, one at a time: for tests, debugging and notebooks."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence

from orchestrator.runners.base import (
    Beat,
    Ended,
    Failed,
    Job,
    Message,
    Objectives,
    Reported,
)
from orchestrator.trial import Report
from trainer.errors import DiskFull


class InlineRunner:
    """Advances its one trial by a report whenever the controller waits."""

    def __init__(
        self, objectives: Objectives, interrupted: Callable[[], bool] = lambda: False
    ) -> None:
        """`interrupted` is asked at every batch: here nobody else could be listening then."""
        self._objectives, self._interrupted = objectives, interrupted
        self._job: Job | None = None
        self._reports: Iterator[Report] = iter(())
        self._stopping = False

    @property
    def free(self) -> int:
        """One while nothing runs."""
        return 0 if self._job else 1

    def start(self, job: Job) -> None:
        """Take the job; it runs inside `wait`."""
        assert self._job is None, "the inline runner has one place"
        self._job, self._stopping = job, False
        self._reports = iter(self._objectives[job.spec.objective](job, self._should_stop))

    def wait(self, timeout: float) -> Sequence[Message]:
        """Run up to the next report, however long that takes."""
        if self._job is None:
            return ()
        key, attempt = self._job.spec.key, self._job.attempt
        try:
            report = next(self._reports)
        except StopIteration:
            self._job = None
            return (Ended(key, attempt, stopped=self._should_stop()),)
        except Exception as error:
            self._job = None
            return (failure(key, attempt, error),)
        return ((Reported if "epoch" in report else Beat)(key, attempt, report),)

    def _should_stop(self) -> bool:
        return self._stopping or self._interrupted()

    def stop(self, key: str) -> None:
        """The trial ends at its next batch, inside `wait`."""
        if self._job and self._job.spec.key == key:
            self._stopping = True

    def close(self) -> None:
        """Drop the trial where it stands; its checkpoint stays."""
        if self._job is not None:
            close = getattr(self._reports, "close", None)
            if close:
                close()
            self._job = None


def failure(key: str, attempt: int, error: BaseException) -> Failed:
    """An exception as a message; a full disk is the machine's fault."""
    return Failed(
        key,
        attempt,
        error=describe(error),
        traceback="".join(traceback.format_exception(error)),
        environment=isinstance(error, DiskFull),
    )


def describe(error: BaseException) -> str:
    """An exception on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
