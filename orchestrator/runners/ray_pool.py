"""A pool of warm worker processes, on this machine or on a Ray cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import NotReady, UsageError
from orchestrator.runners.base import (
    Ended,
    Failed,
    Job,
    Lost,
    Message,
    Objectives,
)
from orchestrator.runners.ray_session import (
    Awaited,
    RaySession,
    TrialBroke,
    Worker,
    WorkerDied,
)
from orchestrator.runners.ray_worker import Spoiled, Word
from orchestrator.runners.room import places
from orchestrator.trial import Bundle

KINDS = ("CPU", "GPU")
ROUND_SECONDS = 0.5
"""The longest that `wait` sleeps before it looks at the clocks of its workers."""
RECOUNT_SECONDS = 10.0
"""How often the nodes of a cluster are counted again."""
FAILED_STARTS = 3
"""Workers in a row that may die in one place before they answer."""


@dataclass(slots=True, eq=False)
class _Run:
    """A job under way."""

    job: Job
    awaited: Awaited
    """Its stream of words; once it was asked to stop, its end."""
    silent: float = 0.0
    """Seconds without a sign of life in which we listened."""
    longest: float = 0.0
    """The longest such silence so far, after the first sign: about a batch, once that is slow."""
    spoke: bool = False
    stopping: float | None = None
    """Seconds left to end by itself, once it was asked to."""
    stream: Awaited = None
    """Once it was asked to stop: what to ask again, since a worker that had not begun is deaf."""


@dataclass(slots=True, eq=False)
class _Place:
    """A worker and what it does: starting, idle or running."""

    worker: Worker
    answered: bool = False
    failed_starts: int = 0
    """Its workers in a row that died before they answered."""
    run: _Run | None = None

    @property
    def idle(self) -> bool:
        return self.answered and self.run is None

    @property
    def awaited(self) -> Awaited | None:
        if self.run is not None:
            return self.run.awaited
        return None if self.answered else self.worker.answer


class RayRunner:
    """Runs each job in a warm worker process of its own.

    Args:
        objectives: what the workers can do; imported there while the caller goes on.
        workers: how many; None for as many as there is room for, on a cluster also later.
        bundle: what one worker needs. Jobs that need more are refused.
        address: the cluster to join, see `RaySession`.
        log_dir: where Ray's own chatter goes.
        silence_seconds: a worker is lost after this long without a sign of life, or after five
            times the longest pause that its trial made so far, whichever is longer.
        startup_seconds: the same, before the trial's first sign: it may have data to decode.
        grace_seconds: how long a trial may take to stop before its worker is ended; twice its
            longest pause, if that is longer.

    Raises:
        UsageError: an address or a bundle that cannot be meant.
        NotReady: Ray does not start, or this machine has no room.
    """

    def __init__(
        self,
        objectives: Objectives,
        *,
        workers: int | None,
        bundle: Bundle,
        address: str | None,
        log_dir: Path,
        silence_seconds: float = 60.0,
        startup_seconds: float = 600.0,
        grace_seconds: float = 10.0,
    ) -> None:
        self._bundle, self._workers = bundle, workers
        self._silence, self._startup, self._grace = silence_seconds, startup_seconds, grace_seconds
        self._log_dir = log_dir
        self._session = RaySession(
            address=address,
            cpus=None if workers is None else max(workers * bundle.cpus, 1),
            gpus=None if bundle.gpus else 0,
            log_dir=log_dir,
        )
        self._places: list[_Place] = []
        self._unheard: list[Message] = []
        self._losses = 0
        self._listened = self._counted = time.monotonic()
        try:
            self._objectives = self._session.pickle(objectives)
            self._check_room()
            self._resize()
        except BaseException:
            self.close()
            raise

    @property
    def free(self) -> int:
        """Workers that have answered and run nothing."""
        return sum(place.idle for place in self._places)

    def start(self, job: Job) -> None:
        """Hand the job to an idle worker.

        Raises:
            UsageError: the job needs several processes, or more than a worker of this pool has.
        """
        if len(job.spec.resources) != 1:
            raise UsageError(
                f"trial {job.spec.key} asks for {len(job.spec.resources)} processes; "
                "a trial of the ray runner has one"
            )
        (need,) = job.spec.resources
        if need.cpus > self._bundle.cpus or need.gpus > self._bundle.gpus:
            raise UsageError(f"trial {job.spec.key} needs {need}; a worker has {self._bundle}")
        place = next(place for place in self._places if place.idle)
        place.run = _Run(job, self._session.run(place.worker, job))

    def wait(self, timeout: float) -> Sequence[Message]:
        """What has happened since; returns early, with nothing, when a worker becomes free.

        Raises:
            NotReady: the workers do not come up, or Ray itself went down.
        """
        if self._unheard:
            unheard, self._unheard = self._unheard, []
            return unheard
        deadline = time.monotonic() + timeout
        free = self.free
        while True:
            self._recount()
            messages = self._listen(min(deadline - time.monotonic(), ROUND_SECONDS))
            if messages:
                return messages + self._listen(0.0)  # one turn of the controller for both
            if self.free > free or self.free == len(self._places):
                return ()
            if time.monotonic() >= deadline:
                return ()

    def stop(self, key: str) -> None:
        """Ask a running trial to stop; a report on its way is lost, until the trial resumes."""
        for place in self._places:
            if place.run is None or place.run.job.spec.key != key or place.run.stopping is not None:
                continue
            self._unheard += self._empty(place)
            if place.run is not None:
                place.run.stopping = max(self._grace, 2 * place.run.longest)
                place.run.stream = place.run.awaited
                place.run.awaited = self._session.ask_to_stop(place.run.stream)

    def close(self) -> None:
        """End every worker, and Ray too if it is our own; returns when none is left."""
        for place in self._places:
            self._session.dismiss(place.worker)
        self._places.clear()
        self._session.close(keep_logs=self._losses > 0)

    def _empty(self, place: _Place) -> list[Message]:
        """All that a running trial has said already."""
        messages = []
        while place.run is not None and self._session.ready([place.run.awaited], timeout=0):
            message = self._hear(place)
            if message is not None:
                messages.append(message)
        return messages

    def _listen(self, timeout: float) -> list[Message]:
        """One round: take one word from everybody who has one, look at the clocks of the others."""
        waiting = {place.awaited: place for place in self._places if place.awaited is not None}
        if not waiting:
            return []
        ready = set(self._session.ready(list(waiting), max(timeout, 0.0)))
        # Only time in which we listened counts: after a pause of ours (or of the whole machine)
        # the words of that time are still to be taken.
        now = time.monotonic()
        passed = min(now - self._listened, 2 * ROUND_SECONDS)
        self._listened = now
        messages = []
        for awaited, place in waiting.items():
            message = self._hear(place) if awaited in ready else self._look(place, passed)
            if message is not None:
                messages.append(message)
        return messages

    def _hear(self, place: _Place) -> Message | None:
        if place.run is None:
            self._greet(place)
            return None
        key, attempt = place.run.job.spec.key, place.run.job.attempt
        try:
            if place.run.stopping is None:
                return self._note(place, self._session.take(place.run.awaited))
            self._session.take_end(place.run.awaited)
            place.run = None
            return Ended(key, attempt, stopped=True)
        except TrialBroke as error:
            self._replace(place)
            return Failed(key, attempt, str(error), "")
        except WorkerDied as error:
            return self._lose(place, str(error))

    def _greet(self, place: _Place) -> None:
        """A new worker has answered, or never will."""
        try:
            self._session.take_answer(place.worker)
        except WorkerDied as error:
            place.failed_starts += 1
            self._losses += 1
            if place.failed_starts >= FAILED_STARTS:
                raise NotReady(
                    f"the workers do not start: {error}; Ray's own logs are kept in {self._log_dir}"
                ) from error
            self._replace(place)
        else:
            place.answered, place.failed_starts = True, 0

    def _note(self, place: _Place, word: Word) -> Message:
        run = place.run
        assert run is not None, "only a running trial speaks"
        if run.spoke:
            run.longest = max(run.longest, run.silent)
        run.spoke, run.silent = True, 0.0
        match word:
            case Spoiled(failed):
                self._replace(place)
                return failed
            case Ended() | Failed():
                place.run = None
        return word

    def _look(self, place: _Place, passed: float) -> Lost | None:
        """Let time pass for a worker that said nothing."""
        run = place.run
        if run is None:
            return None
        run.silent += passed
        if run.stopping is not None:
            run.stopping -= passed
            self._session.ask_to_stop(run.stream)
            if run.stopping <= 0:
                return self._lose(place, "did not stop when it was asked to")
        patience = max(self._silence, 5 * run.longest) if run.spoke else self._startup
        if run.silent > patience:
            return self._lose(place, f"no sign of life for {run.silent:.0f} s")
        return None

    def _lose(self, place: _Place, reason: str) -> Lost:
        assert place.run is not None, "a worker without a trial loses none"
        job = place.run.job
        self._losses += 1
        if self._session.local and not self._session.nodes():
            raise NotReady(
                "the processes of Ray itself have died on this machine (for lack of memory?); "
                "the same command goes on from here"
            )
        self._replace(place)
        return Lost(job.spec.key, job.attempt, reason)

    def _replace(self, place: _Place) -> None:
        """A new worker for the place; it counts as free once it has answered."""
        self._session.dismiss(place.worker)
        place.worker = self._session.hire(self._bundle, self._objectives)
        place.answered, place.run = False, None

    def _check_room(self) -> None:
        """On this machine, what is missing will not come; on a cluster it may."""
        if not self._session.local:
            return
        nodes, wanted = self._session.nodes(), self._workers or 1
        room = places(nodes, self._bundle)
        if room < wanted:
            has = ", ".join(f"{node.get(kind, 0):g} {kind}s" for node in nodes for kind in KINDS)
            raise NotReady(
                f"room for {room} workers instead of {wanted}: one takes {self._bundle.cpus} CPUs "
                f"and {self._bundle.gpus:g} GPUs, and this machine has {has}; see --workers and "
                "--gpus-per-trial"
            )

    def _resize(self) -> None:
        target = self._workers or max(places(self._session.nodes(), self._bundle), 1)
        while len(self._places) < target:
            self._places.append(_Place(self._session.hire(self._bundle, self._objectives)))
        surplus = max(len(self._places) - target, 0)  # nodes have left: ask for no more than fits
        for place in [place for place in self._places if not place.answered][:surplus]:
            self._session.dismiss(place.worker)
            self._places.remove(place)

    def _recount(self) -> None:
        if self._session.local or self._workers is not None:
            return
        if time.monotonic() - self._counted >= RECOUNT_SECONDS:
            self._counted = time.monotonic()
            self._resize()
