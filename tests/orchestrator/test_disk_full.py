"""A full disk ends a run resumably, whoever notices it first."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from orchestrator import __main__
from orchestrator.controller import Controller
from orchestrator.errors import NotReady
from orchestrator.estimates import check_disk
from orchestrator.history import History, history_of
from orchestrator.interrupts import Interrupts
from orchestrator.journal import open_journal, read_events
from orchestrator.run_dir import RunDir, remove_leftovers, write_whole
from orchestrator.runners.base import Ended, Failed, Job, Message, Reported
from orchestrator.runners.inline import InlineRunner
from orchestrator.trial import Report
from tests.factories import ListStage, Watcher, run_task, task, workspace
from trainer.errors import DiskFull

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Report once, then find no room."""
    yield {"epoch": 1, "top1": 0.01}
    raise DiskFull("last.pt: cannot write the checkpoint: No space left on device")


class Pair(InlineRunner):
    """Two places whose words all come at once, those of the full disk first."""

    def __init__(self) -> None:
        super().__init__({})
        self.jobs: list[Job] = []

    @property
    def free(self) -> int:
        return 2 - len(self.jobs)

    def start(self, job: Job) -> None:
        self.jobs.append(job)

    def wait(self, timeout: float) -> Sequence[Message]:
        first, second = self.jobs
        return (
            Failed(first.spec.key, 1, "DiskFull: no room", "", environment=True),
            Reported(second.spec.key, 1, {"epoch": 1, "top1": 0.5}),
            Ended(second.spec.key, 1),
        )


def run(root: Path, runner: InlineRunner) -> History:
    run_dir = RunDir(root / "run")
    with open_journal(run_dir) as (journal, _):
        history = History()
        history_of(read_events(run_dir.journal)[0], into=history)
        history_of(journal.append([{"event": "session", "pid": 1}]), into=history)
        Controller(
            stage=ListStage((task("a", epochs=2), task("b"))),
            journal=journal,
            history=history,
            runner=runner,
            workspace=workspace(root),
            observer=Watcher(),
            interrupts=Interrupts(),
        ).run()
    return history


def kinds(root: Path) -> list[str]:
    return [event["event"] for event, _ in read_events(RunDir(root / "run").journal)[0]]


def test_a_trial_without_room_has_not_failed_and_goes_on_later(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="cannot write the checkpoint"):
        run(tmp_path, InlineRunner({"task": full}))
    assert kinds(tmp_path) == ["session", "proposed", "proposed", "started", "report"]
    history = run(tmp_path, InlineRunner({"task": run_task}))
    assert [(t.status, t.attempt, t.epochs) for t in history.trials()] == [
        ("complete", 2, 2),
        ("complete", 1, 1),
    ]


def test_what_the_others_said_is_in_the_journal_before_the_run_ends(tmp_path: Path) -> None:
    with pytest.raises(NotReady, match="no room"):
        run(tmp_path, Pair())
    assert kinds(tmp_path)[-2:] == ["report", "finished"]


def test_a_file_that_finds_no_room_leaves_the_old_one_and_no_rubbish(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_whole(path, "old")
    path.with_name(f".{path.name}.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(NotReady, match=r"result.json: cannot be written: No space left"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_only_what_was_never_finished_is_cleared_away(tmp_path: Path) -> None:
    rubbish = [".result.json.4242.tmp", "trials/k/last.pt.attempt-3.tmp"]
    kept = ["trials/k/last.pt", "notes.tmp", "trials/k/last.pt.damaged"]
    for name in [*rubbish, *kept]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    remove_leftovers(RunDir(tmp_path))
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert left == set(kept)


def test_checkpoints_that_are_there_need_no_room_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=600)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(NotReady, match="the planned checkpoints take"):
        check_disk(tmp_path, 1000)
    (tmp_path / "last.pt").write_bytes(bytes(500))
    check_disk(tmp_path, 1000)


@pytest.mark.parametrize("error", [FULL, DiskFull("the cache: No space left on device")])
def test_the_command_says_it_in_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(__main__.cli, "main", fail)
    assert __main__.main([]) == 4
    assert capsys.readouterr().err.count("\n") == 1


def test_another_error_of_the_system_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(__main__.cli, "main", fail)
    with pytest.raises(OSError, match="broken"):
        __main__.main([])
