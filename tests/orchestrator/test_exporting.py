import csv
import math
from datetime import datetime
from pathlib import Path

import optuna
import pytest

from orchestrator.__main__ import main
from orchestrator.errors import NotReady, UsageError
from orchestrator.exporting import TARGETS, export
from orchestrator.history import Status, read_history
from orchestrator.journal import read_events
from orchestrator.optuna_study import write_studies
from orchestrator.run_dir import RunDir
from orchestrator.trial_records import trial_records
from tests.journals import (
    failed,
    paused,
    proposed,
    report,
    started,
    stopped,
    whole_trial,
    write_run,
)
from tests.simulated_search import search_plan, simulated_search
from trainer.errors import ConfigError


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    return simulated_search(tmp_path_factory.mktemp("search"), search_plan(controls=()))


@pytest.fixture(scope="module")
def study(search: RunDir, tmp_path_factory: pytest.TempPathFactory) -> optuna.Study:
    path = tmp_path_factory.mktemp("export") / "study.db"
    export(search.root, to="optuna", output=path)
    return optuna.load_study(study_name=None, storage=f"sqlite:///{path}")


def test_every_trial_is_there_with_its_state_and_score(search: RunDir, study: optuna.Study) -> None:
    states = {
        "complete": optuna.trial.TrialState.COMPLETE,
        "pruned": optuna.trial.TrialState.PRUNED,
    }
    ours = list(read_history(search.journal).trials())
    assert {t.status for t in ours} == {Status.COMPLETE, Status.PRUNED}
    assert [t.state for t in study.trials] == [states[t.status] for t in ours]
    assert [t.value for t in study.trials] == [t.metric("top1") for t in ours]
    assert study.best_value == max(t.metric("top1") or 0 for t in ours if t.status == "complete")


def test_what_was_tried_are_parameters_and_what_follows_are_attributes(
    search: RunDir, study: optuna.Study
) -> None:
    first = next(read_history(search.journal).trials())
    trial = study.trials[0]
    assert trial.params == {name: first.labels[name] for name in ("alpha", "beta", "gamma", "seed")}
    assert trial.user_attrs["key"] == first.key
    assert trial.user_attrs["macs"] == first.labels["macs"]


def test_the_curve_is_intermediate_values_by_epoch(search: RunDir, study: optuna.Study) -> None:
    first = next(read_history(search.journal).trials())
    curve = {r["epoch"]: r["top1"] for r in first.reports}
    assert study.trials[0].intermediate_values == curve


def test_times_are_those_at_which_it_happened(search: RunDir, study: optuna.Study) -> None:
    events = [event for event, _ in read_events(search.journal)[0]]
    begins = next(e["t"] for e in events if e["event"] == "started")
    key = study.trials[0].user_attrs["key"]
    ends = [e["t"] for e in events if e["event"] == "finished" and e["key"] == key]
    assert study.trials[0].datetime_start == datetime.fromtimestamp(begins)
    assert [study.trials[0].datetime_complete] == [datetime.fromtimestamp(t) for t in ends]
    pruned = next(t for t in study.trials if t.state == optuna.trial.TrialState.PRUNED)
    assert pruned.datetime_start < pruned.datetime_complete


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_optunas_own_pictures_are_drawn(study: optuna.Study) -> None:
    from optuna.visualization import matplotlib as pictures

    axes = pictures.plot_intermediate_values(study)
    assert len(axes.lines) == len(study.trials)
    pictures.plot_optimization_history(study)
    pictures.plot_slice(study, params=["alpha", "gamma"])


def test_a_failed_and_a_waiting_trial_keep_their_states(tmp_path: Path) -> None:
    lost = [proposed(0), started(0), report(0, 1), failed(0)]
    run_dir = write_run(tmp_path / "run", [lost, [proposed(1)]])
    export(run_dir.root, to="optuna", output=tmp_path / "study.db")
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert [t.state.name for t in study.trials] == ["FAIL", "WAITING"]
    assert study.trials[0].user_attrs["error"] == "ValueError: no"
    assert study.trials[0].intermediate_values == {1: 0.1}


def test_a_score_that_is_no_number_survives(tmp_path: Path) -> None:
    nothing = report(0, 1)
    nothing["report"]["top1"] = None
    run_dir = write_run(tmp_path / "run", [[proposed(0), started(0), nothing, failed(0)]])
    write_studies(trial_records(run_dir), tmp_path / "study.db")
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert math.isnan(study.trials[0].intermediate_values[1])


def test_trials_that_tried_different_things_are_studies_apart(tmp_path: Path) -> None:
    recipe = {**proposed(1), "labels": {"name": "recipe", "lr": 0.1, "seed": 0}}
    run_dir = write_run(tmp_path / "run", [whole_trial(0), [recipe]])
    export(run_dir.root, to="optuna", output=tmp_path / "study.db")
    names = optuna.get_all_study_names(f"sqlite:///{tmp_path / 'study.db'}")
    assert sorted(names) == ["search-scaling: alpha, beta, gamma", "search-scaling: lr, seed"]


def test_the_table_has_a_row_a_trial(search: RunDir, tmp_path: Path) -> None:
    output = tmp_path / "trials.csv"
    count = export(search.root, to="csv", output=output)
    with output.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    ours = list(read_history(search.journal).trials())
    assert len(rows) == count == len(ours)
    assert [row["key"] for row in rows] == [trial.key for trial in ours]
    assert [float(row["top1"]) for row in rows] == [trial.metric("top1") for trial in ours]
    assert all(datetime.fromisoformat(row["started"]).tzinfo for row in rows)


def test_a_dropped_trial_ended_when_that_was_decided(tmp_path: Path) -> None:
    trial = [proposed(0), started(0), report(0, 1), paused(0, epoch=1), stopped(0, epoch=1)]
    run_dir = write_run(tmp_path, [trial])
    (record,) = trial_records(run_dir)
    (decision,) = [e for e, _ in read_events(run_dir.journal)[0] if e["event"] == "decision"]
    assert (record.status, record.ended) == (Status.PRUNED, decision["t"])


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_file_that_exists_is_never_written_over(
    search: RunDir, tmp_path: Path, target: str
) -> None:
    output = tmp_path / "file"
    output.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        export(search.root, to=target, output=output)
    assert output.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [output]


def test_what_cannot_be_meant_is_refused_on_one_line(search: RunDir, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--to: unknown value 'optun'.*Did you mean 'optuna'"):
        export(search.root, to="optun", output=tmp_path / "x")
    with pytest.raises(UsageError, match=r"^.*nothing: not a run directory"):
        export(tmp_path / "nothing", to="csv", output=tmp_path / "x")
    with pytest.raises(UsageError, match="there is no folder"):
        export(search.root, to="csv", output=tmp_path / "no" / "x")


def test_a_full_disk_leaves_no_part_of_a_file(
    search: RunDir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(records: object, path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(TARGETS, "csv", fill)
    with pytest.raises(NotReady, match="No space left"):
        export(search.root, to="csv", output=tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_the_command_says_what_it_wrote(
    search: RunDir, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "trials.csv"
    command = ["export", str(search.root), "--to", "csv", "--output", str(output)]
    assert main(command) == 0
    assert (
        capsys.readouterr().out
        == f"{output}: {len(list(read_history(search.journal).trials()))} trials\n"
    )
    assert main(command) == 2
    assert capsys.readouterr().err.startswith(f"error: --output {output}: exists")
