"""The mirror's loop: read the journal on, send what changed, outlast a tracker that is down."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.journal import read_events
from orchestrator.run_dir import RunDir
from orchestrator.tracking.outbox import Outbox
from orchestrator.tracking.records import RunRecord, Tracker, TrackerDown, TrackerRefused

log = logging.getLogger(__name__)

POLL = 0.5
"""Seconds between two looks at the journal."""
LONGEST_PAUSE = 30.0
"""Seconds between two tries at a tracker that stays down."""
PATIENCE = 15.0
"""Seconds for which a tracker may be down at the end before the rest is left to a later mirror."""
_RESTARTS = 3

Connect = Callable[[str], Tracker]
"""From a study's name to a tracker that knows what it has of it; raises `TrackerDown`."""


class Control:
    """What whoever started the mirror wants of it; set from any thread."""

    def __init__(self) -> None:
        self.ending = False
        """Send what the journal holds by now, then end."""
        self._deadline = math.inf
        self._changed = threading.Event()

    def end(self, *, within: float = math.inf) -> None:
        """Ask for the end, at the latest after so many seconds."""
        self._deadline = min(self._deadline, time.monotonic() + within)
        self.ending = True
        self._changed.set()

    @property
    def expired(self) -> bool:
        """Whether the time that was given is over."""
        return time.monotonic() >= self._deadline

    def wait(self, seconds: float) -> None:
        """Sleep until the time is over or something new is wanted."""
        self._changed.wait(max(0.0, min(seconds, self._deadline - time.monotonic())))
        self._changed.clear()


@dataclass(slots=True)
class Tally:
    """What a mirror has done."""

    runs: set[str] = field(default_factory=set)
    """The runs it looked after, whether or not they lacked anything."""
    points: int = 0
    """Points that the tracker did not have."""
    models: int = 0
    """Models that the tracker did not have."""
    refused: dict[str, str] = field(default_factory=dict)
    """Runs and models that the tracker would not take, with its reason."""
    failure: str = ""
    """Why the tracker is down; empty while it is not."""


class Delivery:
    """Carries one journal to one tracker until its control says end."""

    def __init__(self, run_dir: RunDir, connect: Connect, control: Control) -> None:
        self.tally = Tally()
        self._run_dir = run_dir
        self._connect = connect
        self._control = control
        self._suspects: set[str] = set()
        self._pause = POLL
        self._down_since = math.inf
        self._start_over()

    def run(self, *, interrupted: Callable[[], bool]) -> bool:
        """Send until the end; return whether everything was sent.

        `interrupted` is asked at the end: whether what is unfinished by then stays so for now.
        """
        ending_since = math.inf
        while True:
            ending = self._control.ending  # asked first: what was written before it is then read
            if ending:
                ending_since = min(ending_since, time.monotonic())
            self._read(close=ending and interrupted())
            if self._flush() and ending:
                return not self.tally.refused
            waited = time.monotonic() - max(ending_since, self._down_since)
            if self._control.expired or waited > PATIENCE:
                return False
            self._control.wait(min(self._pause, 2.0) if ending else self._pause)

    def _start_over(self) -> None:
        self._outbox, self._offset = Outbox(self._run_dir), 0
        self._tracker: Tracker | None = None

    def _read(self, *, close: bool) -> None:
        events, self._offset = read_events(self._run_dir.journal, offset=self._offset)
        for event, line in events:
            self._outbox.apply(event, line)
        if close and self._outbox.study:
            self._outbox.close()

    def _flush(self) -> bool:
        if not self._outbox.study:
            return True
        try:
            if self._tracker is None:
                self._tracker = self._connect(self._outbox.study)
            for ref in self._outbox.dirty():
                if self._control.expired:
                    return False
                if not self._deliver(self._tracker, self._outbox.record(ref)):
                    return False
            complete = self._deliver_model(self._tracker)
        except TrackerDown as error:
            self._failed(error)
            return False
        self._answered()
        return complete

    def _deliver_model(self, tracker: Tracker) -> bool:
        """Send one model, which takes seconds: the journal is read on before the next.

        Returns whether there was none.
        """
        record = self._outbox.next_model()
        if record is None:
            return True
        if self._control.expired:
            return False
        if record.ref not in self.tally.refused:
            try:
                self.tally.models += tracker.write_model(record)
            except TrackerRefused as error:
                log.warning("model %s was refused: %s", record.ref, error)
                self.tally.refused[record.ref] = str(error)
        self._outbox.model_sent(record)
        return False

    def _deliver(self, tracker: Tracker, record: RunRecord) -> bool:
        if record.ref not in self.tally.refused:
            try:
                self.tally.points += tracker.write(record)
            except TrackerRefused as error:
                return self._refused(record, error)
            self.tally.runs.add(record.ref)
            self._answered()
        self._outbox.sent(record)
        return True

    def _refused(self, record: RunRecord, error: TrackerRefused) -> bool:
        """Blame the record only if the tracker, asked anew what it has, refuses it again.

        A run may have been deleted there, or the server come back with an older database.
        """
        log.warning("%s %s was refused: %s", record.level, record.ref, error)
        if record.ref in self._suspects or len(self._suspects) >= _RESTARTS:
            self.tally.refused[record.ref] = str(error)
            self._outbox.sent(record)
            return True
        self._suspects.add(record.ref)
        self._start_over()
        return False

    def _failed(self, error: TrackerDown) -> None:
        self._down_since = min(self._down_since, time.monotonic())
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self.tally.failure = str(error)
        log.warning("the tracker is down, next try in %.0f s: %s", self._pause, error)

    def _answered(self) -> None:
        if self.tally.failure:
            log.info("the tracker is back")
        self._pause, self._down_since, self.tally.failure = POLL, math.inf, ""
