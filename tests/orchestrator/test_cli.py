import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from orchestrator import api
from orchestrator.__main__ import main
from orchestrator.cli.options import COMMON, SEARCH_SCALING, Option
from orchestrator.config.common import CommonConfig
from orchestrator.config.scaling import SearchScalingConfig
from orchestrator.errors import Interrupted, NotReady, StageFailed
from orchestrator.interrupts import Terminated
from orchestrator.journal import open_journal
from orchestrator.run_dir import RunDir
from orchestrator.tracking import mirror
from orchestrator.tracking.mirror import SyncSummary
from trainer.errors import ConfigError, DatasetError, TrainingDiverged

Call = dict[str, Any]

PLANNED_SEARCH: dict[str, Any] = {
    "stage": "search-scaling",
    "constraint": {"kind": "counted", "target_ratio": 2.0, "tolerance": 0.1},
    "baseline": {"name": "a", "width": 1.0, "resolution": 32, "params": 1, "macs": 1},
    "grid": {"points": 1, "within_formula": 1, "within_counted": 1, "distinct": 1},
    "candidates": [{"alpha": 1.0, "beta": 1.0, "gamma": 1.4}],
    "plan": {"trials": 1, "epochs": 1, "estimated_hours": 0.1, "disk_bytes": 0},
}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What the search was called with; it answers with a plan at once."""
    said: list[Call] = []

    def search_scaling(config: SearchScalingConfig, **options: Any) -> api.StageResult:
        said.append({"config": config, **options})
        return api.StageResult(run_dir=None, document=PLANNED_SEARCH)

    monkeypatch.setattr(api, "search_scaling", search_scaling)
    return said


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def search_scaling(config: SearchScalingConfig, **options: Any) -> api.StageResult:
        raise error

    monkeypatch.setattr(api, "search_scaling", search_scaling)


def test_every_option_sets_a_field_of_its_configuration() -> None:
    common = {field.name for field in fields(CommonConfig)}
    assert {option.name for option in COMMON} == common - {"train", "cache_dir", "cache_limit"}
    own = {field.name for field in fields(SearchScalingConfig)} - common
    rare = {"baseline_width", "finalists", "halving"}
    assert {option.name for option in SEARCH_SCALING} == own - rare


@pytest.mark.parametrize("option", [*COMMON, *SEARCH_SCALING], ids=lambda option: option.name)
def test_an_option_shows_the_choices_and_the_default_of_its_field(option: Option) -> None:
    choices = get_args(get_type_hints(SearchScalingConfig)[option.name])
    if choices and all(isinstance(choice, str) for choice in choices):
        assert option.metavar == "|".join(choices)
    default = getattr(SearchScalingConfig(), option.name)
    stated = re.search(r"\[default: ([\w.]+)\]", option.help)
    if stated:
        assert stated[1] == str(default)
    assert (default is False) == (option.metavar == "")


def test_the_command_line_becomes_a_configuration(
    calls: list[Call], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("epochs: 3\nseeds: 5\n")
    line = ["search-scaling", "--config", str(file), "--seeds", "2", "--download", "--dry-run"]
    line += ["--flops-budget", "1.8x", "--set", "finalists=4", "--set", "train.optim.lr=0.5"]
    assert main([*line, "--run-dir", "there", "--json"]) == 0
    (call,) = calls
    assert call["dry_run"] is True
    assert call["config"] == SearchScalingConfig(
        run_dir="there",
        epochs=3,
        seeds=2,
        download=True,
        flops_budget="1.8x",
        finalists=4,
        train={"optim": {"lr": "0.5"}},
    )
    out, err = capsys.readouterr()
    assert json.loads(out) == PLANNED_SEARCH
    assert err == ""


def test_without_json_the_result_is_a_table_on_stdout_and_progress_is_on_stderr(
    calls: list[Call], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search-scaling"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("budget     counted cost 2 ± 0.1 times the baseline's\n")
    assert err == ""
    assert re.fullmatch(r"runs/search-scaling-[\d-]+", calls[0]["config"].run_dir)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "",
            "no command given; choose from search-scaling, search-augment, scale, fixres",
        ),
        ("serch-scaling", "unknown value 'serch-scaling'; choose from"),
        ("serch-scaling", "Did you mean 'search-scaling'?"),
        ("--verion", "No such option '--verion'. Did you mean '--version'?"),
        ("search-scaling --flops-budgt 2x", "Did you mean '--flops-budget'?"),
        ("search-scaling --epochs", "Option '--epochs' requires an argument."),
        ("search-scaling --epochs ten", "--epochs: expected a whole number, got 'ten'"),
        ("search-scaling --runner rey", "--runner: unknown value 'rey'; choose from ray, inline."),
        ("search-scaling --flops-budget 0x", "--flops-budget: '0x' is less than the baseline"),
        ("search-scaling --set train.optim.lrr=1", "--set train.optim.lrr: unknown key; choose"),
        ("search-scaling --config no.yaml", "--config no.yaml: cannot be read: No such file"),
        ("search-scaling extra", "Got unexpected extra argument (extra)"),
        ("status", "Missing option '--run-dir'."),
        ("status --run-dir nowhere", "--run-dir nowhere: not a run directory"),
        ("ui --port 0", "Invalid value for '--port': 0 is not in the range"),
        ("ui --run-dir nowhere", "--run-dir nowhere: not a run directory"),
        ("mlflow-sync --run-dir nowhere", "--run-dir nowhere: not a run directory"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_exit_code_2(
    line: str, said: str, capsys: pytest.CaptureFixture[str], calls: list[Call]
) -> None:
    assert main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert said in err
    assert calls == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("a"), 2),
        (DatasetError("a"), 2),
        (StageFailed("a"), 3),
        (TrainingDiverged(epoch=1, step=2, loss=float("inf")), 3),
        (NotReady("a"), 4),
        (Interrupted("a", signal_number=signal.SIGINT), 130),
        (Interrupted("a", signal_number=signal.SIGTERM), 143),
        (KeyboardInterrupt(), 130),
        (Terminated(), 143),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_kind_of_error_has_its_exit_code(
    error: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing(monkeypatch, error)
    assert main(["search-scaling", "--dry-run"]) == code
    assert re.fullmatch(r"error: [^\n]+\n", capsys.readouterr().err)


def test_anything_else_is_a_bug_and_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError):
        main(["search-scaling"])


def test_an_error_is_one_line_whatever_it_quotes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, DatasetError("the folder 'a\nb\x1b[31m\udcff'"))
    assert main(["search-scaling", "--dry-run"]) == 2
    assert capsys.readouterr().err == "error: the folder 'a b\\x1b[31m\\udcff'\n"


@pytest.mark.parametrize("begun", [True, False])
def test_an_interrupt_says_how_to_go_on(
    begun: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failing(monkeypatch, KeyboardInterrupt())
    if begun:
        with open_journal(RunDir(tmp_path)) as (journal, _):
            journal.append([{"event": "session"}])
    assert main(["search-scaling", "--run-dir", str(tmp_path)]) == 130
    how = f"go on with the same command and --run-dir {tmp_path}" if begun else "nothing was begun"
    assert capsys.readouterr().err.splitlines()[-1] == f"error: interrupted; {how}"


def test_status_prints_a_table_or_one_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_journal(RunDir(tmp_path)) as (journal, _):
        journal.append([{"event": "stage", "stage": "search-scaling", "question": {}}])
    assert main(["status", "--run-dir", str(tmp_path)]) == 0
    assert "search-scaling         0" in capsys.readouterr().out
    assert main(["status", "--run-dir", str(tmp_path), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)["stages"]["search-scaling"]
    assert counts["complete"] == counts["waiting"] == 0
    assert counts["best"] is None


def test_mlflow_sync_copies_a_run_and_says_how_much(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[Any] = []

    def sync(run_dir: RunDir, **options: Any) -> SyncSummary:
        said.append((run_dir.root, options))
        return SyncSummary(uri="sqlite:///a.db", runs=3, points=12, refused=("x: too long",))

    monkeypatch.setattr(mirror, "sync", sync)
    with open_journal(RunDir(tmp_path)) as (journal, _):
        journal.append([{"event": "session"}])
    line = ["mlflow-sync", "--run-dir", str(tmp_path)]
    assert main(line) == 0
    assert said == [(tmp_path, {"tracking_uri": None, "until_end": True})]
    out = capsys.readouterr().out
    assert out == "sqlite:///a.db: 3 runs, 12 new metric values\nx: too long\n"
    assert main([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["points"] == 12


def test_a_result_can_be_shown_where_only_ascii_can() -> None:
    program = (
        "import sys; from orchestrator.reporting.screen import show, show_json;"
        "show(['α']); show_json({'a': 'α😀'})"
    )
    done = python("-c", program, PYTHONIOENCODING="ascii")
    assert done.stdout.splitlines()[0] == "\\u03b1"
    assert json.loads(done.stdout.partition("\n")[2]) == {"a": "α😀"}


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("line", [["--help"], ["search-scaling", "--help"], ["nonsense"]])
def test_help_and_mistakes_load_nothing_heavy(line: list[str]) -> None:
    program = (
        "import sys; from orchestrator.__main__ import main; main(sys.argv[1:]);"
        "heavy = {'torch', 'ray', 'mlflow', 'pydantic', 'numpy', 'rich', 'yaml', 'optuna'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = python("-c", program, *line)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_a_configuration_is_read_without_torch() -> None:
    program = (
        "import sys; from orchestrator.loading import load;"
        "from orchestrator.config.scaling import SearchScalingConfig; load(SearchScalingConfig);"
        "print('torch' in sys.modules)"
    )
    assert python("-c", program).stdout == "False\n"


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    with open_journal(RunDir(tmp_path)) as (journal, _):
        stages = ({"event": "stage", "stage": f"stage-{n}", "question": {}} for n in range(5000))
        journal.append(list(stages))
    command = [sys.executable, "-m", "orchestrator", "status", "--run-dir", str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_under_standard_output_is_said(tmp_path: Path) -> None:
    with open_journal(RunDir(tmp_path)):
        (tmp_path / "journal.jsonl").touch()
    command = [sys.executable, "-m", "orchestrator", "status", "--run-dir", str(tmp_path)]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.returncode == 4
    assert done.stderr == "error: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_anything_began_ends_with_its_exit_code(
    number: signal.Signals, code: int
) -> None:
    program = (
        "import sys, time; from orchestrator import api; from orchestrator.__main__ import main;"
        "api.search_scaling = lambda *a, **k: print('here', flush=True) or time.sleep(60);"
        "sys.exit(main(['search-scaling']))"
    )
    program = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler); {program}"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:  # a shell's background jobs inherit a SIGINT that is ignored
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "here\n"
        process.send_signal(number)
        assert process.wait(timeout=60) == code
        assert "error: interrupted; nothing was begun\n" in process.stderr.read()
