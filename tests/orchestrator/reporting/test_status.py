import socket
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import UsageError
from orchestrator.journal import open_journal
from orchestrator.reporting.status import existing_run, status
from orchestrator.run_dir import RunDir
from tests.factories import task


def journal_of_three(root: Path) -> RunDir:
    """One trial finished, one running, one waiting."""
    run_dir = RunDir(root)
    specs = [task(name) for name in "abc"]
    with open_journal(run_dir) as (journal, _):
        journal.append([{"event": "session", "pid": 1}])
        journal.append(
            [{"event": "proposed", "number": n, **spec.to_json()} for n, spec in enumerate(specs)]
        )
        for spec in specs[:2]:
            journal.append([{"event": "started", "key": spec.key, "attempt": 1, "until": None}])
        said: dict[str, Any] = {"key": specs[0].key, "attempt": 1}
        journal.append([{"event": "report", **said, "report": {"epoch": 1, "top1": 0.5}}])
        journal.append([{"event": "finished", **said}])
    return run_dir


def test_status_counts_the_trials_of_each_stage(tmp_path: Path) -> None:
    run_dir = journal_of_three(tmp_path / "run")
    with open_journal(run_dir):
        document = status(run_dir.root)
    toy = document["stages"]["toy"]
    best = toy.pop("best_trial")
    assert toy == {
        "complete": 1, "running": 1, "pruned": 0, "failed": 0, "waiting": 1, "best": 0.5
    }  # fmt: skip
    assert best == task("a").key


def test_status_names_the_controller_while_it_holds_the_directory(tmp_path: Path) -> None:
    run_dir = journal_of_three(tmp_path / "run")
    with open_journal(run_dir):
        controller = status(run_dir.root)["controller"]
    assert controller["at_work"]
    assert controller["holder"].endswith(f"on {socket.gethostname()}")
    assert status(run_dir.root)["controller"] == {"at_work": False, "holder": None}


def test_what_ran_under_a_controller_that_is_gone_is_waiting(tmp_path: Path) -> None:
    run_dir = journal_of_three(tmp_path / "run")
    toy = status(run_dir.root)["stages"]["toy"]
    assert (toy["running"], toy["waiting"]) == (0, 2)


@pytest.mark.parametrize("holder", ["", "pid 999999999 on {host}", "pid 1 on elsewhere", "torn"])
def test_a_lock_file_that_nobody_holds_says_nothing(tmp_path: Path, holder: str) -> None:
    run_dir = journal_of_three(tmp_path / "run")
    run_dir.lock.write_text(holder.format(host=socket.gethostname()))
    assert status(run_dir.root)["controller"]["holder"] is None


def test_a_run_that_only_began_has_no_stage(tmp_path: Path) -> None:
    with open_journal(RunDir(tmp_path)) as (journal, _):
        journal.append([{"event": "session", "pid": 1}])
    assert status(tmp_path)["stages"] == {}


def test_a_directory_that_is_no_run_is_refused_with_the_run_that_was_meant(tmp_path: Path) -> None:
    journal_of_three(tmp_path / "runs" / "search-1")
    for wrong in ("runs", "runs/search-2", "runs/serch-1"):
        with pytest.raises(UsageError) as caught:
            existing_run(tmp_path / wrong)
        assert f"Did you mean '{tmp_path / 'runs' / 'search-1'}'?" in str(caught.value)


@pytest.mark.parametrize("name", ["missing", "a\0b", "x" * 5000, "file/below"])
def test_a_path_that_cannot_be_a_run_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--run-dir"):
        status(tmp_path / name)
