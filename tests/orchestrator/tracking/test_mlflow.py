"""Against real MLflow and SQLite, in this process."""

import multiprocessing
import os
import shutil
import signal
import sqlite3
import time

import pytest
from mlflow import MlflowClient

from orchestrator.errors import RunDirHeld, UsageError
from orchestrator.journal import hold, open_journal
from orchestrator.run_dir import RunDir, write_whole
from orchestrator.tracking import mirror
from orchestrator.tracking.mirror import sync
from orchestrator.tracking.mlflow import MlflowTracker
from tests.journals import (
    QUESTION,
    STAGE,
    asked,
    conclude,
    described_run,
    finished,
    paused,
    proposed,
    report,
    started,
    stopped,
    whole_trial,
    write_run,
)
from tests.tracked import content, runs

# MLflow and SQLAlchemy have each other's deprecations to sort out.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    """A database with MLflow's tables, which take seconds to make."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def uri(tmp_path, empty_database):
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def undisturbed(tmp_path, empty_database):
    """What MLflow holds of a run that is sent at once, by one mirror."""

    def content_of(run_dir):
        shutil.copytree(run_dir.root, tmp_path / "undisturbed" / run_dir.root.name)
        shutil.copy(empty_database, tmp_path / "undisturbed")
        once(RunDir(tmp_path / "undisturbed" / run_dir.root.name))
        return content(f"sqlite:///{tmp_path}/undisturbed/mlflow.db")

    return content_of


@pytest.fixture(autouse=True)
def no_address_from_outside(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def once(run_dir):
    return sync(run_dir, tracking_uri=None, until_end=True)


def three_trials():
    pruned = [proposed(1), started(1), report(1, 1), paused(1, epoch=1), stopped(1, epoch=1)]
    return [whole_trial(0), pruned, whole_trial(2, epochs=2)]


@pytest.fixture(scope="module")
def forks():
    """Processes that have imported MLflow already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["orchestrator.tracking.mlflow", "mlflow.store.tracking.sqlalchemy_store"]
    )
    return context


def test_study_stage_and_trials_hang_together(tmp_path, uri):
    write_whole(tmp_path / "run" / "report.md", "# Report")
    once(write_run(tmp_path / "run", three_trials()))
    by_name = {run["name"]: run for run in content(uri)}
    assert set(by_name) == {"run", STAGE, "alpha=1.1 beta=1.0 gamma=1.2"}
    study, stage = by_name["run"], by_name[STAGE]
    assert study["tags"]["git_sha"] == "0123abcd"
    assert study["tags"]["dataset"] == "digits"
    assert study["tags"]["packages.torch"] == "2.11"
    assert (stage["parent"], stage["status"]) == ("run", "FINISHED")
    assert stage["params"] == {
        "dataset": "digits", "budget.ratio": "2.0", "budget.kind": "counted", "grid": "[1,1.1]",
    }  # fmt: skip
    assert stage["files"] == ["candidates.csv", "family.csv", "report.md", "result.json"]
    assert ("top1", 0, 0.9) in [point[:3] for point in stage["points"]]


def test_a_trial_has_its_points_parameters_tags_and_times(tmp_path, uri):
    once(write_run(tmp_path / "run", three_trials()))
    by_key = {run["tags"].get("trial_key"): run for run in content(uri)}
    trial = by_key["trial-0"]
    assert trial["parent"] == STAGE
    assert [point[:3] for point in trial["points"] if point[0] == "top1"] == [
        ("top1", 1, 0.1), ("top1", 2, 0.2), ("top1", 3, 0.3),
    ]  # fmt: skip
    assert {point[0] for point in trial["points"]} == {"top1", "lr"}
    assert trial["params"]["model.resolution"] == "32"
    assert trial["params"]["alpha"] == trial["tags"]["alpha"] == "1.1"
    expected = {"stage": STAGE, "seed": "0", "macs": "1000", "status": "complete", "attempts": "1"}
    assert expected.items() <= trial["tags"].items()
    assert [by_key[f"trial-{n}"]["status"] for n in range(3)] == ["FINISHED", "KILLED", "FINISHED"]
    begin, end = trial["times"]
    assert abs(begin / 1000 - time.time()) < 60
    assert begin <= end


def test_a_replay_changes_nothing(tmp_path, uri):
    run_dir = write_run(tmp_path / "run", three_trials())
    first = once(run_dir)
    before = content(uri)
    again = once(run_dir)
    assert (first.runs, first.points) == (5, 17)
    assert (again.runs, again.points) == (5, 0)
    assert content(uri) == before


def test_a_journal_sent_in_pieces_is_shown_as_if_sent_at_once(tmp_path, uri, undisturbed):
    run_dir = described_run(tmp_path / "run")
    pieces = [asked(), *([event] for trial in three_trials() for event in trial), asked()[:1]]
    for piece in pieces:
        with open_journal(run_dir) as (journal, _):
            journal.append(piece)
        once(run_dir)
    with open_journal(run_dir) as (journal, _):
        conclude(journal, run_dir)
    once(run_dir)
    assert content(uri) == undisturbed(run_dir)


def test_the_same_work_in_two_runs_is_shown_in_both(tmp_path, uri):
    for name in ("first", "second"):
        once(write_run(tmp_path / name, [whole_trial(0)]))
    parents = [run["parent"] for run in content(uri) if run["tags"].get("trial_key") == "trial-0"]
    assert len(runs(uri)) == 6
    assert parents == [STAGE, STAGE]


def test_a_changed_question_does_not_run_into_the_old_parameters(tmp_path, uri):
    run_dir = write_run(tmp_path / "run", [whole_trial(0)])
    once(run_dir)
    with open_journal(run_dir) as (journal, _):
        journal.append(asked({**QUESTION, "grid": [2]}))
        journal.append(whole_trial(1))
        conclude(journal, run_dir)
    summary = once(run_dir)
    stages = {run["name"]: run["params"]["grid"] for run in content(uri) if "grid" in run["params"]}
    assert summary.refused == ()
    assert stages == {STAGE: "[1,1.1]", f"{STAGE} (2)": "[2]"}


def test_a_trial_deleted_there_meanwhile_is_written_anew(tmp_path, uri):
    run_dir = described_run(tmp_path / "run")
    client = MlflowClient(tracking_uri=uri)
    with open_journal(run_dir) as (journal, _):
        journal.append([*asked(), proposed(0), started(0), report(0, 1)])
        once(run_dir)
        trial = next(run for run in runs(uri) if "trial_key" in run.data.tags)
        client.delete_run(trial.info.run_id)
        journal.append([report(0, 2), finished(0)])
        once(run_dir)
    trial = next(run for run in content(uri) if "trial_key" in run["tags"])
    assert [point[1] for point in trial["points"] if point[0] == "top1"] == [1, 2]


def test_an_empty_twin_is_removed(tmp_path, uri):
    """What a request leaves that was answered after its sender had given up."""
    run_dir = write_run(tmp_path / "run", [whole_trial(0)])
    once(run_dir)
    before = content(uri)
    trial = next(run for run in runs(uri) if "trial_key" in run.data.tags)
    MlflowClient(tracking_uri=uri).create_run(
        trial.info.experiment_id, tags={**trial.data.tags, "mlflow.runName": "twin"}
    )
    once(run_dir)
    assert content(uri) == before


def test_a_report_written_after_the_result_is_sent_too(tmp_path, uri):
    run_dir = write_run(tmp_path / "run", [whole_trial(0)])
    once(run_dir)
    write_whole(run_dir.report, "# Late")
    once(run_dir)
    stage = next(run for run in content(uri) if run["name"] == STAGE)
    assert "report.md" in stage["files"]


def test_a_run_under_way_is_running_and_one_left_behind_was_interrupted(tmp_path, uri):
    run_dir = described_run(tmp_path / "run")
    with open_journal(run_dir) as (journal, _):
        journal.append([*asked(), proposed(0), started(0)])
        once(run_dir)
        assert {run["status"] for run in content(uri)} == {"RUNNING"}
    once(run_dir)
    assert {(run["status"], run["tags"]["status"]) for run in content(uri)} == {
        ("KILLED", "interrupted")
    }


def test_values_too_long_for_mlflow_are_cut(tmp_path, uri):
    long = {**proposed(0), "labels": {"name": "n" * 999, "text": "x" * 99_999, "α β?": 1}}
    summary = once(write_run(tmp_path / "run", [[long, started(0), finished(0)]]))
    assert summary.refused == ()
    trial = next(run for run in content(uri) if "trial_key" in run["tags"])
    assert len(trial["params"]["text"]) == 6000


def test_a_second_mirror_is_refused_by_name(tmp_path, uri, monkeypatch):
    monkeypatch.setattr(mirror, "_PREDECESSOR", 0.0)
    run_dir = write_run(tmp_path / "run", [])
    with (
        hold(run_dir.mirror_lock, doing="-"),
        pytest.raises(RunDirHeld, match=f"another mirror is at work on .*pid {os.getpid()}"),
    ):
        once(run_dir)


def test_a_directory_without_a_journal_is_a_mistake_of_the_user(tmp_path):
    with pytest.raises(UsageError, match=r"--run-dir: .* holds no journal"):
        once(RunDir(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_six_processes_open_a_fresh_database_together(tmp_path, forks):
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"
    processes = [
        forks.Process(target=MlflowTracker.connect, args=(uri,), kwargs=study(n)) for n in range(6)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6
    experiments = MlflowClient(tracking_uri=uri).search_experiments()
    assert sorted(experiment.name for experiment in experiments) == ["Default", "orchestrator"]


def study(number):
    return {"study": f"study-{number}", "artifacts": None}


def test_mirrors_killed_while_they_write_leave_no_point_twice_and_none_out(
    tmp_path, uri, forks, undisturbed
):
    run_dir = write_run(tmp_path / "run", [whole_trial(n, epochs=5) for n in range(32)])
    ends = []
    for death in range(3):
        process = forks.Process(target=once, args=(run_dir,))
        process.start()
        while process.is_alive() and points_in(tmp_path / "mlflow.db") <= 80 * death:  # of 325
            time.sleep(0.001)
        process.kill()
        process.join()
        ends.append(process.exitcode)
    assert -signal.SIGKILL in ends  # on a busy machine a mirror may be done before it is caught
    sent_before = points_in(tmp_path / "mlflow.db")
    summary = once(run_dir)
    assert summary.points == 32 * 5 * 2 + 5 - sent_before
    assert content(uri) == undisturbed(run_dir)


def points_in(database):
    with sqlite3.connect(database) as connection:
        (count,) = connection.execute("SELECT count(*) FROM metrics").fetchone()
    connection.close()
    return count
