"""The loop: propose, start, hear, decide, record; nothing is acted on before the journal has it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from orchestrator.errors import Interrupted, NotReady
from orchestrator.history import History, Status, Trial
from orchestrator.interrupts import Interrupts
from orchestrator.journal import Event, Journal
from orchestrator.runners.base import (
    Beat,
    Ended,
    Failed,
    Job,
    Lost,
    Message,
    Reported,
    Runner,
    Workspace,
)
from orchestrator.stages.base import Stage
from orchestrator.trial import TrialSpec

POLL_SECONDS = 0.5
SYNC_SECONDS = 0.5
"""How long a report may be in the journal alone, and not on the disk. A crash of the whole machine
in that time loses it; the trial's checkpoint is there to say it again."""
START_SYNC_SECONDS = 0.05
"""The same where trials are started: what a crash of the machine takes away in that time is
proposed and started again, under the same keys. It spares floods of tiny trials a wait each."""
STOP_SECONDS = 4.0
"""How long an interrupted run waits for its trials; a batch is shorter."""


class Observer(Protocol):
    """Whoever wants to be told: the live table, plain lines, nobody."""

    def observe(self, history: History, event: Event) -> None:
        """Called for every event once it is in the journal, and for signs of life."""
        ...


class Controller:
    """Drives one stage to its end. Holds nothing that the journal could not give back."""

    def __init__(
        self,
        *,
        stage: Stage,
        journal: Journal,
        history: History,
        runner: Runner,
        workspace: Workspace,
        observer: Observer,
        interrupts: Interrupts,
        seed: int = 0,
        max_losses: int = 3,
    ) -> None:
        self._stage, self._journal, self._history = stage, journal, history
        self._runner, self._workspace, self._observer = runner, workspace, observer
        self._interrupts, self._seed, self._max_losses = interrupts, seed, max_losses
        self._specs: dict[str, TrialSpec] = {}
        self._ready: deque[str] = deque()
        self._running: dict[str, Job] = {}
        self._exhausted = False

    def run(self) -> None:
        """Return when nothing is left to do.

        Raises:
            Interrupted: a signal came; the trials were asked to stop and the journal is whole.
            NotReady: the machine cannot go on (a full disk); likewise.
        """
        try:
            while self._step():
                if self._interrupts:
                    raise Interrupted("interrupted", signal_number=self._interrupts.signal or 2)
        except (Interrupted, NotReady):
            self._stop_all()
            raise
        finally:
            self._journal.sync()

    def _step(self) -> bool:
        """One turn of the loop; False when the stage has nothing left."""
        self._propose()
        self._start()
        if self._running or self._ready or not self._runner.free:
            # With nothing running, nobody free: waiting is for a worker to come up.
            self._hear(self._runner.wait(POLL_SECONDS))
            return True
        return self._decide() or not self._exhausted

    def _propose(self) -> None:
        """Ask the stage for trials when workers would otherwise idle."""
        wanted = self._runner.free - len(self._ready)
        if self._exhausted or wanted <= 0:
            return
        specs = self._stage.propose(self._history, count=wanted, seed=self._seed)
        new = [spec for spec in specs if self._wants(spec)]
        unique = {spec.key: spec for spec in new}  # equal keys are one trial
        fresh = [spec for spec in unique.values() if spec.key not in self._history]
        self._record(
            {"event": "proposed", "number": number, **spec.to_json()}
            for number, spec in enumerate(fresh, start=self._history.next_number)
        )
        self._specs.update(unique)
        # What was begun before goes first: its checkpoint is worth more than a fresh start.
        self._ready.extend(sorted(unique, key=lambda key: not self._history[key].attempt))
        self._exhausted = not unique

    def _wants(self, spec: TrialSpec) -> bool:
        if spec.key in self._specs:
            return False
        trial = self._history.get(spec.key)
        if trial is None or not trial.status.ended:
            return True
        # Dropped at a rung once, now asked for to the end.
        return trial.status is Status.PRUNED and not spec.milestones

    def _start(self) -> None:
        """Start as many ready trials as there are free workers.

        This is where a turn waits for the disk, which costs more than all else that the controller
        does for a short trial: when the last wait is old, sooner if something is to be started.
        """
        jobs: list[Job] = []
        while self._ready and len(jobs) < self._runner.free:
            key = self._ready.popleft()
            # While it was in line it may have been stopped, or be one that waits for a decision.
            if key in self._specs and self._history[key].status is not Status.PAUSED:
                jobs.append(self._job(key))
        self._record(
            {"event": "started", "key": job.spec.key, "attempt": job.attempt, "until": job.until}
            for job in jobs
        )
        self._journal.sync(patience=START_SYNC_SECONDS if jobs else SYNC_SECONDS)
        for job in jobs:
            self._running[job.spec.key] = job
            self._runner.start(job)

    def _job(self, key: str) -> Job:
        trial, spec = self._history[key], self._specs[key]
        return Job(
            spec=spec,
            attempt=trial.attempt + 1,
            until=next((epoch for epoch in spec.milestones if epoch > trial.decided), None),
            known_epochs=trial.epochs,
            workspace=self._workspace,
        )

    def _hear(self, messages: Iterable[Message]) -> None:
        """Journal what the workers said, then draw the consequences."""
        heard = [message for message in messages if self._is_current(message)]
        self._record(event for message in heard for event in self._events(message, heard))
        over = [message for message in heard if not isinstance(message, Reported | Beat)]
        for message in over:
            self._settle(message)
        for message in over:  # only now: what the others said is in the journal
            if isinstance(message, Failed) and message.environment:
                raise NotReady(message.error)
        if over:
            self._decide()

    def _is_current(self, message: Message) -> bool:
        job = self._running.get(message.key)
        return job is not None and job.attempt == message.attempt

    def _events(self, message: Message, heard: Iterable[Message]) -> list[Event]:
        said: Event = {"key": message.key, "attempt": message.attempt}
        trial, job = self._history[message.key], self._running[message.key]
        match message:
            case Reported():
                return [{"event": "report", **said, "report": message.report}]
            case Beat():
                self._observer.observe(
                    self._history, {"event": "beat", **said, "report": message.report}
                )
                return []
            case Ended(stopped=True) | Failed(environment=True):
                return []  # goes on in another session
            case Ended() if job.until is None:
                return [{"event": "finished", **said, "epochs": _reached(trial, heard)}]
            case Ended():
                return [{"event": "paused", "key": message.key, "epoch": job.until}]
            case Lost():
                return [
                    {"event": "lost", **said, "reason": message.reason},
                    *self._give_up(trial, message),
                ]
            case Failed():
                failed: Event = {"event": "failed", **said, "error": message.error}
                return [{**failed, "traceback": message.traceback}]

    def _give_up(self, trial: Trial, lost: Lost) -> list[Event]:
        """A trial that keeps killing its workers is failed, so that the rest can go on."""
        if trial.losses + 1 < self._max_losses:
            return []
        error = f"its worker died {trial.losses + 1} times; the last time: {lost.reason}"
        return [{"event": "failed", "key": trial.key, "attempt": lost.attempt, "error": error}]

    def _settle(self, message: Message) -> None:
        """A job is over: free its place and see what that makes possible."""
        del self._running[message.key]
        status = self._history[message.key].status
        if status.ended:
            del self._specs[message.key]
        elif status is Status.WAITING:
            self._ready.appendleft(message.key)
        self._exhausted = False

    def _decide(self) -> bool:
        """Take the decision that is due; True if there was one."""
        decision = self._stage.decide(self._history)
        if decision is None:
            return False
        self._record([decision.to_event()])
        self._ready.extend(key for key in decision.promoted if self._is_idle(key))
        for key in decision.stopped:
            if key not in self._running:  # its pause, which is on its way, ends it
                self._specs.pop(key, None)
        self._exhausted = False
        return True

    def _is_idle(self, key: str) -> bool:
        waiting = self._history[key].status is Status.WAITING
        return waiting and key in self._specs and key not in self._ready

    def _record(self, events: Iterable[Event]) -> None:
        """Into the journal, then the fold and whoever watches; acted on only after that."""
        batch = list(events)
        if not batch:
            return
        for event, line in self._journal.write(batch):
            self._history.apply(event, line)
            self._observer.observe(self._history, event)

    def _stop_all(self) -> None:
        """Ask every trial to stop and hear them out for a while; their checkpoints stand anyway."""
        for key in self._running:
            self._runner.stop(key)
        deadline = time.monotonic() + STOP_SECONDS
        while self._running and time.monotonic() < deadline:
            for message in self._runner.wait(0.1):
                if not isinstance(message, Reported | Beat):
                    self._running.pop(message.key, None)


def _reached(trial: Trial, heard: Iterable[Message]) -> int:
    """The trial's last epoch, the ones just heard of included."""
    said = [m.report["epoch"] for m in heard if isinstance(m, Reported) and m.key == trial.key]
    reached: int = max([trial.epochs, *said])
    return reached
