"""A submitted Ray job against a head of our own on loopback: `docs/cluster.md` as it stands."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

BIN = Path(sys.executable).parent
PORTS = {
    "port": 26379,
    "dashboard-port": 28265,
    "dashboard-agent-listen-port": 28266,
    "ray-client-server-port": 20001,
}


@dataclass(frozen=True)
class Head:
    """A head node, and the environment of those who may talk to it."""

    environment: dict[str, str]

    @property
    def dashboard(self) -> str:
        return f"http://127.0.0.1:{PORTS['dashboard-port']}"

    def submit(self, *line: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        command = [BIN / "ray", "job", "submit", "--address", self.dashboard, "--", *line]
        deadline = time.monotonic() + 60
        while True:
            done = subprocess.run(
                command, capture_output=True, text=True, env=environment, timeout=240, check=False
            )
            # A head comes up in steps; its agent, which starts the jobs, is the last.
            early = ("No available agent", "Failed to connect")
            if not any(word in done.stderr for word in early) or time.monotonic() > deadline:
                return done
            time.sleep(2)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    root = tmp_path_factory.mktemp("ray")
    token = root / "token"
    token.write_text("a-secret-of-this-test-" + "0" * 16)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "XDG_CACHE_HOME": str(root / "cache"),
    }
    options = [f"--{name}={number}" for name, number in PORTS.items()]
    command = [
        *(BIN / "ray", "start", "--head", "--block", "--node-ip-address=127.0.0.1"),
        *("--num-cpus=2", "--include-dashboard=true", "--dashboard-host=127.0.0.1", *options),
        *("--object-store-memory=100000000", "--disable-usage-stats"),
    ]
    with (root / "head.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        yield Head(environment)
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End this head and what it started; `ray stop` would end every Ray of the machine."""
    below = psutil.Process(process.pid).children(recursive=True)
    for member in [psutil.Process(process.pid), *below]:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    process.wait()


SEARCH = (
    *(
        "search-scaling",
        "--epochs",
        "1",
        "--seeds",
        "1",
        "--grid-step",
        "0.5",
        "--tolerance",
        "0.25",
    ),
    *("--controls", "none", "--set", "finalists=1"),
)


@pytest.mark.slow
def test_a_submitted_job_finishes_and_status_shows_it(head: Head, tmp_path: Path) -> None:
    run_dir = str(tmp_path / "runs" / "job")
    done = head.submit("orchestrator", *SEARCH, "--run-dir", run_dir, environment=head.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"succeeded", done.stdout)
    status = subprocess.run(
        [BIN / "orchestrator", "status", "--run-dir", run_dir, "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    stage = json.loads(status.stdout)["stages"]["search-scaling"]
    assert stage["running"] == stage["waiting"] == stage["failed"] == 0
    assert stage["complete"] >= 1
    assert (tmp_path / "runs" / "job" / "search-scaling" / "result.json").exists()


@pytest.mark.slow
def test_a_client_without_the_token_is_refused(head: Head, tmp_path: Path) -> None:
    stranger = {
        name: value for name, value in head.environment.items() if name != "RAY_AUTH_TOKEN_PATH"
    }
    stranger["HOME"] = str(tmp_path)  # where Ray would look for a token
    refused = head.submit("orchestrator", "--version", environment=stranger)
    assert refused.returncode != 0
    joining = subprocess.run(
        [
            *(BIN / "orchestrator", *SEARCH, "--run-dir", str(tmp_path / "run")),
            *("--ray-address", f"127.0.0.1:{PORTS['port']}"),
        ],
        capture_output=True,
        text=True,
        env=stranger,
        timeout=120,
        check=False,
    )
    assert joining.returncode == 4, joining.stderr
    assert "token" in joining.stderr.splitlines()[-1]
