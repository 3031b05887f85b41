"""Ray Tune drives our trials: what comes out is what our own runners give."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.history import Status, Trial, read_history
from orchestrator.objectives.table import OBJECTIVES
from orchestrator.reporting.status import status
from orchestrator.run_dir import RunDir
from orchestrator.runners.base import Ended, Job, Reported, Workspace
from orchestrator.runners.inline import InlineRunner
from orchestrator.trial_records import trial_records

DOCUMENT = Path(__file__).parents[2] / "docs" / "ray-tune.md"
TIMES = {"seconds", "images_per_second"}

# Ray is started in a process of its own: it leaves threads, handlers and variables behind.
SCRIPT = """
import ray
from ray import tune
from orchestrator.integrations.tune import record, scaling

ray.init(address="local", num_cpus=1, include_dashboard=False)
tiny = {"data": {"train_images": 60}}
search = scaling(grid_step="0.2", epochs=2, train=tiny, run_dir="run", cache_dir="cache")
names = list(search.plan.by_name)[:2]
spaces = [
    {**search.space(), "network": tune.grid_search(names)},
    {**search.space(optim__lr=tune.grid_search([1e30])), "network": names[0]},
]
for space in spaces:
    tuner = tune.Tuner(
        search.trainable,
        param_space=space,
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(verbose=0, storage_path=STORAGE),
    )
    results = tuner.fit()
    record(search, results)
    record(search, results)
"""

pytestmark = pytest.mark.slow  # a Ray of Tune's own takes its time to start


def run_script(text: str, folder: Path) -> None:
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    environment = {**os.environ, **quiet, "PYTHONPATH": str(DOCUMENT.parents[1])}
    script = folder / "script.py"
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """Two tiny trials and one that diverges, without a scheduler, recorded twice."""
    folder = tmp_path_factory.mktemp("tune")
    run_script(SCRIPT.replace("STORAGE", repr(str(folder / "ray"))), folder)
    return RunDir(folder / "run")


def complete(run_dir: RunDir) -> list[Trial]:
    trials = read_history(run_dir.journal).trials()
    return [trial for trial in trials if trial.status is Status.COMPLETE]


def inline(run_dir: RunDir, folder: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The same trials again, in this process and from the beginning."""
    from orchestrator.loading import decode_spec

    workspace = Workspace(run_root=folder, cache_root=run_dir.root.parent / "cache")
    for trial in complete(run_dir):
        runner = InlineRunner(OBJECTIVES)
        runner.start(Job(spec=decode_spec(trial.proposal), attempt=1, workspace=workspace))
        reports = []
        while not isinstance(message := runner.wait(1.0)[0], Ended):
            if isinstance(message, Reported):
                reports.append(message.report)
        yield trial.key, reports


def without_times(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in report.items() if k not in TIMES} for report in reports]


def test_a_trial_under_tune_reports_what_it_reports_inline(tuned: RunDir, tmp_path: Path) -> None:
    history = read_history(tuned.journal)
    ours = dict(inline(tuned, tmp_path))
    assert len(ours) == 2
    for key, reports in ours.items():
        assert without_times(history[key].reports) == without_times(reports)
        assert len(reports) == 2


def test_recording_twice_adds_nothing(tuned: RunDir) -> None:
    trials = list(read_history(tuned.journal).trials())
    assert [(trial.status, trial.attempt) for trial in trials[:2]] == [(Status.COMPLETE, 1)] * 2
    assert [trial.number for trial in trials] == [0, 1, 2]


def test_a_trial_that_broke_is_recorded_with_its_reason(tuned: RunDir) -> None:
    *_, broken = read_history(tuned.journal).trials()
    assert broken.status is Status.FAILED
    assert "TrainingDiverged" in broken.error
    assert broken.labels["optim.lr"] == 1e30
    assert broken.proposal["config"]["optim"]["lr"] == 1e30


def test_the_recorded_run_has_a_status_and_real_times(tuned: RunDir) -> None:
    counts = status(tuned.root)["stages"]["search-scaling"]
    assert (counts["complete"], counts["failed"], counts["waiting"]) == (2, 1, 0)
    history = read_history(tuned.journal)
    for record in (r for r in trial_records(tuned) if r.status is Status.COMPLETE):
        assert record.started is not None
        assert record.ended is not None
        trained = sum(report["seconds"] for report in history[record.key].reports)
        assert record.ended - record.started >= trained - 2  # Tune's stamps are whole seconds


def test_the_documented_example_runs_asha_over_our_space(tmp_path: Path) -> None:
    (example,) = re.findall(
        r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE
    )
    example = example.replace("verbose=0", f"verbose=0, storage_path={str(tmp_path / 'ray')!r}")
    run_script(textwrap.dedent(example), tmp_path)
    trials = list(read_history(tmp_path / "runs" / "tune" / "journal.jsonl").trials())
    assert len(trials) == len(list((tmp_path / "ray").glob("*/TuneTrial_*"))) >= 3
    assert all(trial.status.ended for trial in trials)
    assert max(trial.epochs for trial in trials) == 4
    assert {trial.epochs for trial in trials if trial.status is Status.PRUNED} <= {1, 2, 3}
