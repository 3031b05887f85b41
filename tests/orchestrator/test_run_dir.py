"""Names cannot lead out of a run's directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.__main__ import main
from orchestrator.errors import UsageError
from orchestrator.run_dir import RunDir
from tests.journals import whole_trial, write_run

# MLflow and SQLAlchemy have each other's deprecations to sort out.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

STRAY = ["..", "../outside", "/outside", "a/b", "", ".", ".hidden", "a\0b", "a\nb", "a\\b"]


@pytest.mark.parametrize("name", STRAY)
def test_what_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    run_dir = RunDir(tmp_path)
    with pytest.raises(UsageError, match="is no name of a stage or trial"):
        run_dir.stage(name)
    with pytest.raises(UsageError, match="is no name of a stage or trial"):
        run_dir.trial("search-scaling", name)


@pytest.mark.parametrize("name", ["search-scaling", "trial-3", "0123456789abcdef", "größe"])
def test_a_name_lies_below_the_run(tmp_path: Path, name: str) -> None:
    assert RunDir(tmp_path).trial("toy", name).parent.parent.parent == tmp_path


@pytest.mark.parametrize("command", ["report", "mlflow-sync"])
def test_a_journal_from_elsewhere_reaches_nothing_outside(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "outside" / "result.json"
    secret.parent.mkdir()
    secret.write_text(json.dumps({"winner": {"mean": 0.5}}))
    run_dir = write_run(tmp_path / "runs" / "run", [whole_trial(0)])
    text = run_dir.journal.read_text().replace('"search-scaling"', '"../../outside"')
    run_dir.journal.write_text(text)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main([command, "--run-dir", str(run_dir.root)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said == ["error: run directory: '../../outside' is no name of a stage or trial"]
    after = {path: path.read_bytes() for path in secret.parent.rglob("*")}
    assert after == {secret: before[secret]}
