import errno
import os
import time
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from orchestrator.controller import START_SYNC_SECONDS, Controller
from orchestrator.errors import NotReady
from orchestrator.history import History
from orchestrator.interrupts import Interrupts
from orchestrator.journal import Journal, open_journal, read_events
from orchestrator.run_dir import RunDir
from orchestrator.runners.base import Job
from orchestrator.runners.inline import InlineRunner
from tests.factories import TASKS, ListStage, Watcher, task, workspace


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    return RunDir(tmp_path / "run")


@pytest.fixture
def journal(run_dir: RunDir) -> Iterator[Journal]:
    with open_journal(run_dir) as (journal, _):
        yield journal


class Narrow(FileIO):
    """A file on a disk with room for little at a time."""

    def write(self, content: Any, /) -> int:
        return super().write(content[:60])


def names(run_dir: RunDir) -> list[str]:
    return [event["event"] for event, _ in read_events(run_dir.journal)[0]]


def no_disk(number: int) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_what_was_written_can_be_read_before_the_disk_has_it(
    run_dir: RunDir, journal: Journal
) -> None:
    journal.write([{"event": "a"}])
    assert names(run_dir) == ["a"]


def test_only_what_is_new_is_waited_for(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[int] = []
    monkeypatch.setattr(os, "fsync", waits.append)
    journal.sync()
    journal.write([{"event": "a"}])
    journal.write([{"event": "b"}])
    assert not waits
    journal.sync()
    journal.sync()
    assert len(waits) == 1


def test_a_recent_wait_is_enough_for_the_patient(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []
    monkeypatch.setattr(os, "fsync", waits.append)
    journal.append([{"event": "a"}])
    journal.write([{"event": "b"}])
    journal.sync(patience=60.0)
    assert len(waits) == 1
    journal.sync()
    assert len(waits) == 2


def test_a_disk_that_fails_leaves_what_it_had(
    run_dir: RunDir, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append([{"event": "a"}])
    journal.write([{"event": "b"}])
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", no_disk)
        with pytest.raises(NotReady, match="Input/output error"):
            journal.sync()
    assert names(run_dir) == ["a"]
    journal.append([{"event": "c"}])
    assert names(run_dir) == ["a", "c"]


def test_an_event_that_cannot_be_written_leaves_those_before_it(run_dir: RunDir) -> None:
    run_dir.root.mkdir()
    with run_dir.journal.open("ab", buffering=0) as file:
        journal = Journal(Narrow(file.fileno(), "ab", closefd=False))
        journal.write([{"event": "a"}])
        with pytest.raises(NotReady, match="No space left"):
            journal.write([{"event": "b", "text": "x" * 100}])
        journal.append([{"event": "c"}])
    assert names(run_dir) == ["a", "c"]


def test_a_trial_is_started_when_the_disk_knows_or_was_waited_for_a_moment_ago(
    run_dir: RunDir, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: list[bool] = []

    class Listening(InlineRunner):
        def start(self, job: Job) -> None:
            size, at = on_disk[-1] if on_disk else (0, opened)
            recent = time.monotonic() - at < START_SYNC_SECONDS
            known.append(size == run_dir.journal.stat().st_size)
            assert known[-1] or recent
            super().start(job)

    opened, on_disk = time.monotonic(), list[tuple[int, float]]()
    monkeypatch.setattr(
        os, "fsync", lambda number: on_disk.append((os.fstat(number).st_size, time.monotonic()))
    )
    Controller(
        stage=ListStage(tuple(task(name, seconds=0.1) for name in "abcd")),
        journal=journal,
        history=History(),
        runner=Listening(TASKS),
        workspace=workspace(run_dir.root),
        observer=Watcher(),
        interrupts=Interrupts(),
    ).run()
    assert known[1:] == [True] * 3  # the trial before took longer than a moment
    assert on_disk[-1][0] == run_dir.journal.stat().st_size
