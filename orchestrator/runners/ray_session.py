"""The door to Ray: a session, its workers, and what they say, in our own values and errors.

Ray itself is imported when a session opens, never before: it takes most of a second, and it reads
its environment variables while it is imported.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from orchestrator.errors import NotReady
from orchestrator.runners.base import Job, Objectives
from orchestrator.runners.inline import describe
from orchestrator.runners.ray_setup import (
    check_address,
    divert_log,
    diverted_stderr,
    kept_signal_handlers,
    prepare_environment,
)
from orchestrator.runners.ray_worker import TrialWorker, Word
from orchestrator.runners.reaper import Reaper
from orchestrator.trial import Bundle

OBJECT_STORE_BYTES = 100 * 2**20
"""Messages are small and travel beside the object store, images are memory-mapped files."""

KILLED = "its process was killed or crashed"

Awaited: TypeAlias = Any
"""A Ray reference or stream that something will come out of."""


class WorkerDied(Exception):
    """The process is gone; the message says why, on one line."""


class TrialBroke(Exception):
    """The stream broke outside the objective, for instance on a report that does not pickle."""


@dataclass(frozen=True, slots=True, eq=False)
class Worker:
    """A process of the pool as the controller sees it."""

    actor: Any
    answer: Awaited
    """Comes when the process has loaded the objectives and can take a trial."""


class RaySession:
    """A connection to Ray: an instance of our own on this machine, or a cluster that is there.

    `address` names a cluster (`host:port` or `auto`); None takes the one in `RAY_ADDRESS`, which
    `ray job submit` sets, and starts an instance of our own if there is none. Our own listens on
    the loopback interface only, as long as nothing else imported `ray` before; token
    authentication is on in either case.

    Raises:
        UsageError: an address of a kind that cannot work.
        NotReady: Ray does not start, or no cluster answers.
    """

    def __init__(
        self, *, address: str | None, cpus: int | None, gpus: float | None, log_dir: Path
    ) -> None:
        address = address or os.environ.get("RAY_ADDRESS") or None
        self.local = address in (None, "local")
        self._log_dir = log_dir
        if not self.local:
            check_address(str(address))
        prepare_environment(local=self.local)
        import ray

        self._ray: Any = ray  # untyped in the parts that we need
        self._joined = ray.is_initialized()  # a notebook's own session stays the notebook's
        self.local = self.local and not self._joined
        self._directory: Path | None = None
        self._reaper = Reaper() if self.local else None
        if not self._joined:
            self._connect(address, cpus, gpus)
        self._log = divert_log(log_dir / "ray.log")
        self._oom_kills = _oom_kills()

    def _connect(self, address: str | None, cpus: int | None, gpus: float | None) -> None:
        options: dict[str, Any] = {"address": address}
        if self.local:
            options = {
                "address": "local",
                "num_cpus": cpus,
                "num_gpus": gpus,
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE_BYTES,
            }
        try:
            with kept_signal_handlers(), diverted_stderr(self._log_dir / "ray-start.log"):
                context = self._ray.init(
                    **options, log_to_driver=False, logging_level=logging.ERROR
                )
        except Exception as error:  # Ray raises plain ones too, for servers that come up too late
            what = "Ray does not start" if self.local else f"cannot join Ray at {address}"
            raise NotReady(f"{what}: {self._why_not(error)}") from error
        if self.local:
            self._directory = Path(context.address_info["session_dir"])

    def _why_not(self, error: Exception) -> str:
        log = self._log_dir / "ray-start.log"
        said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        unauthenticated = isinstance(error, self._ray.exceptions.AuthenticationError)
        if unauthenticated or "InvalidAuthToken" in said:
            return "it wants a token: RAY_AUTH_MODE=token, RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"
        return describe(error)

    def nodes(self) -> list[Mapping[str, float]]:
        """The resources of every living node."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def pickle(self, objectives: Objectives) -> bytes:
        """The objectives as bytes; functions of importable modules go by name."""
        content: bytes = self._ray.cloudpickle.dumps(dict(objectives))
        return content

    def hire(self, bundle: Bundle, objectives: bytes) -> Worker:
        """A new worker; Ray starts it when there is room for the bundle."""
        actor = (
            self._ray.remote(TrialWorker)
            .options(
                num_cpus=bundle.cpus,
                num_gpus=bundle.gpus,
                max_concurrency=1,
                max_restarts=0,  # a replacement is ours to hire: only we know what was lost
                # One job at a time, so there is no order; with one, a job cancelled on its way
                # leaves a gap in it, for which the worker waits 30 s and then drops the next job.
                allow_out_of_order_execution=True,
                enable_task_events=False,  # 3 MB in Ray's control store per thousand trials
            )
            .remote(bundle, stop_requested)
        )
        return Worker(actor, actor.load.remote(objectives))

    def run(self, worker: Worker, job: Job) -> Awaited:
        """Begin a job; its words come out of the stream one by one."""
        return worker.actor.run.options(num_returns="streaming").remote(job)

    def ready(self, awaited: Sequence[Awaited], timeout: float) -> Sequence[Awaited]:
        """Those that something can be taken from; waits for the first while there is none."""
        everything = list(awaited)
        ready, _ = self._ray.wait(everything, num_returns=len(everything), timeout=0)
        if not ready and timeout > 0:
            ready, _ = self._ray.wait(everything, num_returns=1, timeout=timeout)
        return list(ready)

    def take_answer(self, worker: Worker) -> None:
        """The worker's first answer.

        Raises:
            WorkerDied: it did not come up.
        """
        try:
            self._ray.get(worker.answer)
        except self._ray.exceptions.RayTaskError as error:
            raise WorkerDied(describe(_root(error))) from error
        except self._ray.exceptions.RayError as error:
            raise WorkerDied(self._reason(error)) from error

    def take(self, stream: Awaited) -> Word:
        """The next word of a ready stream.

        Raises:
            TrialBroke: an error outside the objective.
            WorkerDied: its process is gone.
        """
        exceptions = self._ray.exceptions
        try:
            word: Word = self._ray.get(next(stream))
        except exceptions.RayTaskError as error:
            raise TrialBroke(describe(_root(error))) from error
        except exceptions.RayError as error:
            raise WorkerDied(self._reason(error)) from error
        return word

    def ask_to_stop(self, stream: Awaited) -> Awaited:
        """Raise the flag that `stop_requested` sees; what comes is the end of the trial.

        Wait for that in place of the stream: Ray drops what the stream still held, and taking
        from it would block until the trial ends.
        """
        self._ray.cancel(stream)
        return stream.completed()

    def take_end(self, end: Awaited) -> None:
        """Confirm that a stopped trial has ended and its worker is free.

        Raises:
            WorkerDied: its process is gone.
        """
        exceptions = self._ray.exceptions
        try:
            self._ray.get(end)
        except (exceptions.TaskCancelledError, exceptions.RayTaskError):
            return
        except exceptions.RayError as error:
            raise WorkerDied(self._reason(error)) from error

    def dismiss(self, worker: Worker) -> None:
        """End the process, whatever it is doing; returns at once."""
        self._ray.kill(worker.actor, no_restart=True)

    def close(self, *, keep_logs: bool = False) -> None:
        """Leave Ray; end an instance of our own and clear away what it wrote, or save its logs."""
        if not self._joined:
            with kept_signal_handlers():
                self._ray.shutdown()
        if self._reaper is not None:
            self._reaper.dismiss()
        if self._directory is not None:
            if keep_logs:
                self._save_logs(self._directory / "logs")
            shutil.rmtree(self._directory, ignore_errors=True)
        self._log.restore()

    def _reason(self, error: Exception) -> str:
        reason = reason_of_death(str(error))
        if self.local and reason == KILLED and (kills := _oom_kills()) > self._oom_kills:
            self._oom_kills = kills
            return "out of memory: killed by the system"
        return reason

    def _save_logs(self, logs: Path) -> None:
        for source in logs.glob("*"):
            if source.is_file() and source.stat().st_size:
                target = self._log_dir / "ray" / logs.parent.name / source.name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, target)


def stop_requested() -> bool:
    """Whether the trial that this worker runs was asked to stop; under a microsecond."""
    import ray

    requested: bool = ray.get_runtime_context().is_canceled()
    return requested


def _root(error: BaseException) -> BaseException:
    """What was raised in the worker, out of what Ray made of it."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error


def reason_of_death(text: str) -> str:
    """Why a worker died, on one line, out of Ray's paragraph."""
    if "low on memory" in text:
        return "out of memory: ended by Ray to keep its machine alive"
    if "End of file" in text:
        return KILLED
    if detail := re.search(r"exit detail: (.+)", text):
        return detail.group(1)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "for no reason that Ray knows"


def _oom_kills() -> int:
    """Processes that this machine's kernel killed for lack of memory; 0 where it does not say."""
    try:
        counters = Path("/proc/vmstat").read_text(encoding="ascii")
    except OSError:
        return 0
    return sum(
        int(line.split()[1]) for line in counters.splitlines() if line.startswith("oom_kill ")
    )
