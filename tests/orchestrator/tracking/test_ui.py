import os
import signal
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from orchestrator.errors import NotReady, UsageError
from orchestrator.run_dir import RunDir
from orchestrator.tracking.mirror import sync
from orchestrator.tracking.ui import ui
from tests.journals import whole_trial, write_run


@pytest.fixture(autouse=True)
def no_address_from_outside(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_without_a_database_there_is_nothing_to_show(tmp_path):
    with pytest.raises(NotReady, match=r"no MLflow database at .*mlflow-sync"):
        ui(RunDir(tmp_path / "run"), port=0)


def test_a_server_has_its_own_pages(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://anna:geheim@host")
    with pytest.raises(NotReady, match=r"open http://anna:\*\*\*@host in a browser"):
        ui(RunDir(tmp_path / "run"), port=0)


def test_a_port_that_is_taken_is_named(tmp_path):
    (tmp_path / "mlflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"--port: cannot listen on {port}"):
            ui(RunDir(tmp_path / "run"), port=port)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_pages_are_served_until_ctrl_c_and_nothing_stays_behind(tmp_path):
    run_dir = write_run(tmp_path / "run", [whole_trial(0)])
    sync(run_dir, tracking_uri=None, until_end=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = "import sys; from orchestrator.tracking.ui import ui; from orchestrator.run_dir import *"
    code += f"; sys.exit(ui(RunDir(Path({str(run_dir.root)!r})), port={port}))"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        page = fetch(f"http://127.0.0.1:{port}/")
        assert "mlflow" in page.lower()
    finally:
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(30) == 130
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))


def fetch(url, *, within=120):
    deadline = time.monotonic() + within
    while True:
        try:
            with urlopen(url, timeout=5) as response:
                return response.read().decode()
        except (URLError, OSError):
            assert time.monotonic() < deadline
            time.sleep(0.2)
