"""Progress on standard error during a run: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, TextIO

from orchestrator.history import History
from orchestrator.journal import Event
from orchestrator.reporting.formats import counted, duration, percent
from orchestrator.reporting.progress import (
    SCORE,
    Clock,
    Pace,
    describe,
    planned_trials,
    progress_of,
    stages_of,
)

if TYPE_CHECKING:
    from rich.table import Table


class Watcher(Protocol):
    """Whoever is told about a run: every event once it is in the journal, and signs of life."""

    def say(self, line: str) -> None:
        """Show something that the user should read."""
        ...

    def observe(self, history: History, event: Event) -> None:
        """Take an event; returns at once, whatever becomes of the screen."""
        ...

    def close(self) -> None:
        """Leave the screen as it should stay."""
        ...


class Silent:
    """Shows nothing."""

    def say(self, line: str) -> None:
        """Swallow it."""

    def observe(self, history: History, event: Event) -> None:
        """Take no notice."""

    def close(self) -> None:
        """Nothing is open."""


class PlainLines:
    """A line for a trial that ends or a decision, and a summary now and then."""

    def __init__(
        self, stream: TextIO, *, every: float = 10.0, clock: Clock = time.monotonic
    ) -> None:
        self._stream, self._every, self._clock = stream, every, clock
        self._pace = Pace(clock)
        self._last = clock()
        self._broken = False

    def say(self, line: str) -> None:
        """Print it, while anybody reads."""
        if self._broken:
            return
        try:
            print(line, file=self._stream, flush=True)
        except (OSError, ValueError):  # nobody reads any more; training goes on
            self._broken = True

    def observe(self, history: History, event: Event) -> None:
        """Print what is worth a line."""
        self._pace.hear(event)
        line = line_of(history, event)
        if line:
            self.say(line)
        stage = _stage_of(history, event)
        if stage and self._clock() - self._last >= self._every:
            self._last = self._clock()
            self.say(_summary(history, stage, self._pace))

    def close(self) -> None:
        """Nothing is open."""


class LiveTable:
    """A table redrawn in place, at most four times a second; what is said scrolls by above it."""

    def __init__(
        self, stream: TextIO, *, every: float = 0.25, clock: Clock = time.monotonic
    ) -> None:
        from rich.console import Console
        from rich.live import Live

        console = Console(file=stream, highlight=False, markup=False)
        # No thread of rich's own: the table changes when something has happened.
        self._live = Live(console=console, auto_refresh=False, redirect_stdout=False)
        self._every, self._clock, self._last = every, clock, clock() - every
        self._pace = Pace(clock)
        self._history: History | None = None
        self._live.start()

    def say(self, line: str) -> None:
        """Print it above the table."""
        with suppress(OSError):
            self._live.console.print(line, soft_wrap=True)

    def observe(self, history: History, event: Event) -> None:
        """Redraw, unless that was only just done."""
        self._history = history
        self._pace.hear(event)
        line = line_of(history, event)
        if line and event["event"] != "finished":  # the table counts those
            self.say(line)
        if self._clock() - self._last >= self._every:
            self._last = self._clock()
            self._draw()

    def close(self) -> None:
        """Leave the last table on the screen."""
        self._draw()
        with suppress(OSError):
            self._live.stop()

    def _draw(self) -> None:
        if self._history is None:
            return
        with suppress(OSError):  # the terminal is gone; training goes on
            self._live.update(_table(self._history, self._pace), refresh=True)


def watcher_on(stream: TextIO | None) -> Watcher:
    """A table on a terminal that can redraw, lines on any other stream, nothing without one."""
    if stream is None:
        return Silent()
    live = stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    return LiveTable(stream) if live else PlainLines(stream)


def line_of(history: History, event: Event) -> str | None:
    """What an event is worth on a line of its own; most are worth none."""
    match event:
        case {"event": "finished", "key": key}:
            trial = history[key]
            score = trial.metric(SCORE)
            reached = "" if score is None else f" top-1 {percent(score)} after"
            epochs = counted(trial.epochs, "epoch")
            return f"{_place(history, key)}:{reached} {epochs}, {duration(trial.seconds)}"
        case {"event": "failed", "key": key, "error": error}:
            return f"{_place(history, key)}: failed: {error}"
        case {"event": "lost", "key": key, "reason": reason}:
            return f"{_place(history, key)}: {reason}; it goes on in another worker"
        case {"event": "decision", "epoch": epoch, "promoted": promoted, "stopped": [_, *_] as out}:
            rest = counted(len(promoted), "trial")
            return f"{event['stage']}: after epoch {epoch} {rest} go on, {len(out)} dropped"
    return None


def _place(history: History, key: str) -> str:
    trial = history[key]
    return f"{trial.stage}: trial {trial.number} ({describe(trial)})"


def _stage_of(history: History, event: Event) -> str | None:
    trial = history.get(event.get("key", ""))
    return trial.stage if trial else None


def _summary(history: History, stage: str, pace: Pace) -> str:
    done, running, failed, best, speed, left = _cells(history, stage, pace)
    said = [f"{done} done", f"{running} running"]
    said += [f"{failed} failed"] if failed != "0" else []
    said += [f"best {best}"] if best else []
    said += [f"{speed} images/s"] if speed else []
    said += [f"at most {left} left"] if left else []
    return f"{stage}: {', '.join(said)}"


def _cells(history: History, stage: str, pace: Pace) -> tuple[str, ...]:
    progress = progress_of(history, stage)
    left = pace.seconds_left(history, stage)
    speed = pace.images_per_second
    return (
        f"{progress.ended}/{planned_trials(history, stage)}",
        str(progress.running),
        str(progress.failed),
        "" if progress.best is None else percent(progress.best),
        f"{speed:,.0f}" if speed else "",
        "" if left is None else duration(left),
    )


def _table(history: History, pace: Pace) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("stage")
    for header in ("done", "running", "failed", "best", "images/s", "time left"):
        table.add_column(header, justify="right")
    for stage in stages_of(history):
        table.add_row(stage, *_cells(history, stage, pace))
    return table
