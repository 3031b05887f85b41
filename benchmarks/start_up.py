"""How long a user waits: for help, and for the first trial to run."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.harness import Row, in_turn, scratch, seconds
from orchestrator.journal import read_events
from orchestrator.run_dir import RunDir

HELP_SECONDS = 0.3
FIRST_TRIAL_SECONDS = 15.0
PATIENCE_SECONDS = 300.0

OURS = (sys.executable, "-m", "orchestrator")


def measure(quick: bool) -> Iterator[Row]:
    """`orchestrator --help`, and a search on the digits up to its first trial."""
    scripts = Path(sys.executable).parent
    commands = {
        "ours": (*OURS, "--help"),
        "ray --help": (str(scripts / "ray"), "--help"),
        "mlflow --help": (str(scripts / "mlflow"), "--help"),
        "python -c pass": (sys.executable, "-c", "pass"),
    }
    times = in_turn(
        {name: partial(command_seconds, command) for name, command in commands.items()},
        rounds=1 if quick else 7,
    )
    yield Row(
        name="help-seconds",
        ours=median(times.pop("ours")),
        peer=HELP_SECONDS,
        peer_name="limit",
        unit="s",
        goal=1.0,
        beside={name: median(values) for name, values in times.items()},
        bound="the interpreter's own start, and the import of click",
    )
    yield _first_trial(rounds=1 if quick else 3)


def _first_trial(*, rounds: int) -> Row:
    with scratch() as folder:
        first_trial_seconds(folder / "warming", cache=folder / "cache")  # decodes the data set
        waits = [
            first_trial_seconds(folder / str(number), cache=folder / "cache")
            for number in range(rounds)
        ]
    return Row(
        name="first-trial-seconds",
        ours=median(started for started, _ in waits),
        peer=FIRST_TRIAL_SECONDS,
        peer_name="limit",
        unit="s from the command to a running trial",
        goal=1.0,
        beside={"first epoch reported": median(reported for _, reported in waits)},
        bound="imports of torch for the plan, Ray's start, and the start of its workers",
    )


def command_seconds(command: Sequence[str]) -> float:
    """Wall time of a command that must succeed."""
    return seconds(lambda: subprocess.run(command, check=True, capture_output=True))


def first_trial_seconds(run_dir: Path, *, cache: Path) -> tuple[float, float]:
    """Begin a search on the digits; the times to its first started trial and its first report."""
    command = [*OURS, "search-scaling", "--run-dir", str(run_dir), "--set", f"cache_dir={cache}"]
    began = time.time()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return _first(run_dir, "started", began, process), _first(run_dir, "report", began, process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _first(run_dir: Path, kind: str, began: float, process: subprocess.Popen[bytes]) -> float:
    """Seconds from `began` to the first event of a kind, by the journal's clock."""
    journal = RunDir(run_dir).journal
    while time.time() - began < PATIENCE_SECONDS and process.poll() is None:
        times = [event["t"] for event, _ in read_events(journal)[0] if event["event"] == kind]
        if times:
            return float(times[0]) - began
        time.sleep(0.05)
    raise RuntimeError(f"no '{kind}' event: the search ended with code {process.poll()}")
