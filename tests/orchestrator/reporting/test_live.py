import io
from pathlib import Path
from typing import Any

import pytest

from orchestrator.history import History
from orchestrator.journal import open_journal
from orchestrator.reporting.live import LiveTable, PlainLines, Silent, Watcher, watcher_on
from orchestrator.reporting.progress import Pace, progress_of
from orchestrator.run_dir import RunDir
from tests.factories import task


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    """A stream whose reader has gone away."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


class Told:
    """A journal and its history, with watchers told as the controller tells them."""

    def __init__(self, path: Path, *watchers: Watcher) -> None:
        self.history, self.path, self.watchers = History(), path, watchers

    def __call__(self, *events: dict[str, Any]) -> None:
        with open_journal(RunDir(self.path)) as (journal, _):
            for event, line in journal.append(events):
                self.history.apply(event, line)
                for watcher in self.watchers:
                    watcher.observe(self.history, event)


def proposed(number: int, epochs: int = 4) -> dict[str, Any]:
    return {"event": "proposed", "number": number, **task(str(number), epochs=epochs).to_json()}


def started(number: int) -> dict[str, Any]:
    return {"event": "started", "key": key(number), "attempt": 1, "until": None}


def report(number: int, epoch: int, **values: float) -> dict[str, Any]:
    values = {"epoch": epoch, "top1": epoch / 10, "images_per_second": 50.0, **values}
    return {"event": "report", "key": key(number), "attempt": 1, "report": values}


def finished(number: int) -> dict[str, Any]:
    return {"event": "finished", "key": key(number), "attempt": 1}


def key(number: int) -> str:
    return task(str(number), epochs=4).key


def test_plain_lines_are_one_for_a_trial_that_ends_and_a_summary_every_ten_seconds(
    tmp_path: Path,
) -> None:
    clock, stream = Clock(), io.StringIO()
    tell = Told(tmp_path, PlainLines(stream, clock=clock))
    tell(*(proposed(number) for number in range(4)), started(0), started(1))
    for epoch in range(1, 5):
        clock.now += 1
        tell(report(0, epoch), report(1, epoch))
    assert stream.getvalue() == ""
    tell(finished(0))
    assert stream.getvalue() == "toy: trial 0 (trial 0): top-1 40.00 % after 4 epochs, 0 s\n"
    clock.now += 6
    tell(started(2), report(2, 1))
    # 8 epochs took 10 s; trials 2 and 3 have 4 each to come
    assert stream.getvalue().splitlines()[1:] == [
        "toy: 1/4 done, 2 running, best 40.00 %, 50 images/s, at most 10 s left"
    ]


def test_failures_losses_and_decisions_are_worth_a_line(tmp_path: Path) -> None:
    stream = io.StringIO()
    tell = Told(tmp_path, PlainLines(stream))
    tell(*(proposed(number) for number in range(3)), started(0), started(1))
    tell(
        {"event": "lost", "key": key(0), "attempt": 1, "reason": "its worker died (out of memory)"}
    )
    tell({"event": "failed", "key": key(1), "attempt": 1, "error": "ValueError: no"})
    decision = {"event": "decision", "stage": "toy", "epoch": 2, "report": {}}
    tell({**decision, "promoted": [key(0), key(2)], "stopped": [key(1)]})
    tell({**decision, "promoted": [key(0)], "stopped": []})
    assert stream.getvalue().splitlines() == [
        "toy: trial 0 (trial 0): its worker died (out of memory); it goes on in another worker",
        "toy: trial 1 (trial 1): failed: ValueError: no",
        "toy: after epoch 2 2 trials go on, 1 dropped",
    ]


def test_a_reader_that_goes_away_does_not_stop_the_training(tmp_path: Path) -> None:
    watcher = PlainLines(Gone())
    tell = Told(tmp_path, watcher)
    tell(proposed(0), started(0), report(0, 1), finished(0))
    watcher.say("nobody hears this")


def test_the_table_on_a_terminal_ends_with_what_has_become_of_the_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    watcher = watcher_on(stream)
    assert isinstance(watcher, LiveTable)
    tell = Told(tmp_path, watcher)
    tell(*(proposed(number) for number in range(3)), started(0), report(0, 4), finished(0))
    watcher.say("a note")
    watcher.close()
    last = stream.getvalue().rpartition("time left")[2]
    assert "toy" in last
    assert "1/3" in last
    assert "40.00 %" in last
    assert "a note" in stream.getvalue()


@pytest.mark.parametrize(
    ("stream", "term", "kind"),
    [
        (io.StringIO(), "xterm", PlainLines),
        (Terminal(), "dumb", PlainLines),
        (Terminal(), "xterm", LiveTable),
        (None, "xterm", Silent),
    ],
)
def test_the_stream_decides_how_progress_is_shown(
    stream: io.StringIO | None, term: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", term)
    watcher = watcher_on(stream)
    watcher.close()
    assert isinstance(watcher, kind)


def test_the_speed_is_that_of_the_trials_that_run_now_and_follows_signs_of_life() -> None:
    pace = Pace(Clock())
    pace.hear({"event": "report", "key": "a", "report": {"images_per_second": 40.0}})
    pace.hear({"event": "report", "key": "b", "report": {"images_per_second": 2.0}})
    pace.hear({"event": "beat", "key": "b", "report": {"images_per_second": 60.0}})
    assert pace.images_per_second == 100
    pace.hear({"event": "finished", "key": "a"})
    assert pace.images_per_second == 60


def test_a_trial_that_waits_at_a_milestone_is_waiting(tmp_path: Path) -> None:
    tell = Told(tmp_path)
    tell(*(proposed(number) for number in range(3)), started(0), started(1), report(0, 2))
    tell({"event": "paused", "key": key(0), "epoch": 2})
    progress = progress_of(tell.history, "toy")
    assert (progress.waiting, progress.running, progress.ended) == (2, 1, 0)
    assert (progress.best, progress.best_trial) == (0.2, key(0))
