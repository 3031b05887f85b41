"""The mirror as the controller starts it, and servers at their worst."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest

from orchestrator.errors import NotReady
from orchestrator.journal import open_journal
from orchestrator.tracking import delivery
from orchestrator.tracking.mirror import start_mirror, sync
from tests.journals import (
    asked,
    conclude,
    described_run,
    finished,
    proposed,
    report,
    started,
    whole_trial,
    write_run,
)
from tests.tracked import content

# MLflow and SQLAlchemy have each other's deprecations to sort out.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TRIALS = [whole_trial(n, epochs=2) for n in range(3)]
POINTS = 3 * 2 * 2 + 5


@pytest.fixture(autouse=True)
def no_address_from_outside(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A real tracking server that can be killed and started again."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += [
            "--port",
            str(self.port),
            "--backend-store-uri",
            f"sqlite:///{self.folder}/s.db",
        ]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, process_group=0, cwd=self.folder
            )
        until(lambda: answers(f"{self.uri}/health"), within=120)

    def kill(self):
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


class Faults:
    """What stands between the mirror and the server, and what it does to a request."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.delay = 0.0
        self.status = 0
        self.lose_answers = 0
        self.requests = 0


@contextmanager
def in_front_of(server):
    """A proxy that delays, refuses, or loses the answer of what the server has done."""
    faults = Faults(server.uri)

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self):
            faults.requests += 1
            time.sleep(faults.delay)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if faults.status:
                return self.answer(faults.status, b'{"detail": "not now"}')
            headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
            request = Request(
                faults.upstream + self.path, body or None, headers, method=self.command
            )
            try:
                with urlopen(request, timeout=60) as response:
                    status, content = response.status, response.read()
            except HTTPError as error:
                status, content = error.code, error.read()
            if faults.lose_answers and self.command == "POST" and "search" not in self.path:
                faults.lose_answers -= 1
                self.close_connection = True
                return None
            return self.answer(status, content)

        def answer(self, status, content):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever)
        thread.start()
        faults.uri = f"http://127.0.0.1:{proxy.server_address[1]}"
        yield faults
        proxy.shutdown()
        thread.join()


def answers(url):
    try:
        with urlopen(url, timeout=2):
            return True
    except (URLError, OSError):
        return False


def until(condition, *, within=60.0):
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def of_study(uri, name):
    """The runs of one study, where several share a server."""
    everything = content(uri)
    (study,) = (run["tags"]["study"] for run in everything if run["name"] == name)
    return [run for run in everything if run["tags"]["study"] == study]


def log_of(run_dir):
    path = run_dir.logs / "mirror.log"
    return path.read_text() if path.exists() else ""


def test_starting_a_mirror_does_not_import_mlflow_here():
    code = "import sys, orchestrator.tracking.mirror; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_mirror_follows_a_run_to_its_end_and_a_ctrl_c_is_not_for_it(tmp_path):
    run_dir = described_run(tmp_path / "run")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    with open_journal(run_dir) as (journal, _):
        journal.append([*asked(), proposed(0), started(0), report(0, 1)])
        with start_mirror(run_dir, None, run_dir.logs) as mirror:
            until(lambda: "mirroring" in log_of(run_dir))
            os.kill(mirror.pid, signal.SIGINT)
            until(lambda: (tmp_path / "mlflow.db").exists())
            journal.append([report(0, 2), finished(0)])
            conclude(journal, run_dir)
            assert mirror.finish() == ""
    mirrored = content(uri)
    assert {run["status"] for run in mirrored} == {"FINISHED"}
    assert sum(len(run["points"]) for run in mirrored) == 2 * 2 + 5
    assert sync(run_dir, tracking_uri=None, until_end=True).points == 0
    assert content(uri) == mirrored


def test_a_refusing_server_costs_nothing_but_time(tmp_path, shared_server, monkeypatch):
    monkeypatch.setattr(delivery, "PATIENCE", 0.5)
    run_dir = write_run(tmp_path / "refused", TRIALS)
    with in_front_of(shared_server) as faults:
        for faults.status in (500, 401):
            with pytest.raises(NotReady, match="did not take everything"):
                sync(run_dir, tracking_uri=faults.uri, until_end=True)
        faults.status = 0
        assert sync(run_dir, tracking_uri=faults.uri, until_end=True).points == POINTS
    assert len(of_study(shared_server.uri, "refused")) == 5


def test_a_lost_answer_makes_no_second_run_and_no_second_point(tmp_path, shared_server):
    run_dir = write_run(tmp_path / "lost", TRIALS)
    with in_front_of(shared_server) as faults:
        faults.lose_answers = 6
        sync(run_dir, tracking_uri=faults.uri, until_end=True)
        assert faults.lose_answers == 0
    mirrored = of_study(shared_server.uri, "lost")
    assert len(mirrored) == 5
    assert sum(len(run["points"]) for run in mirrored) == POINTS


def test_the_server_keeps_the_files_of_a_stage(tmp_path, shared_server):
    sync(write_run(tmp_path / "files", []), tracking_uri=shared_server.uri, until_end=True)
    stage = next(run for run in of_study(shared_server.uri, "files") if run["files"])
    assert stage["files"] == ["candidates.csv", "family.csv", "result.json"]


@pytest.mark.slow
def test_a_server_that_answers_after_two_seconds_gets_everything_once(tmp_path, shared_server):
    run_dir = write_run(tmp_path / "late", TRIALS[:1])
    with in_front_of(shared_server) as faults:
        faults.delay = 2.0
        assert sync(run_dir, tracking_uri=faults.uri, until_end=True).points == 2 * 2 + 5
    assert len(of_study(shared_server.uri, "late")) == 3


@pytest.mark.slow
def test_a_server_killed_midway_and_revived_shows_an_undisturbed_run(tmp_path):
    server = Server(tmp_path)
    server.start()
    run_dir = described_run(tmp_path / "run")
    try:
        with (
            open_journal(run_dir) as (journal, _),
            start_mirror(run_dir, server.uri, run_dir.logs) as mirror,
        ):
            journal.append([*asked(), *TRIALS[0], proposed(1), started(1), report(1, 1)])
            until(lambda: len(content(server.uri)) == 4)
            server.kill()
            journal.append([report(1, 2), finished(1)])
            until(lambda: "the tracker is down" in log_of(run_dir))
            server.start()
            journal.append(TRIALS[2])
            conclude(journal, run_dir)
            assert mirror.finish() == ""
        mirrored = content(server.uri)
    finally:
        server.kill()
    sync(run_dir, tracking_uri=f"sqlite:///{tmp_path}/undisturbed.db", until_end=True)
    assert mirrored == content(f"sqlite:///{tmp_path}/undisturbed.db")


@pytest.mark.slow
def test_a_server_that_was_never_there_is_one_line_without_its_password(tmp_path):
    run_dir = write_run(tmp_path / "run", TRIALS)
    uri = f"http://anna:geheim@127.0.0.1:{free_port()}"
    with start_mirror(run_dir, uri, run_dir.logs) as mirror:
        until(lambda: "the tracker is down" in log_of(run_dir))
        assert b"geheim" not in Path(f"/proc/{mirror.pid}/cmdline").read_bytes()
        line = mirror.finish(timeout=1)
    assert "orchestrator mlflow-sync --run-dir" in line
    assert "\n" not in line
    assert "geheim" not in line + log_of(run_dir)


@pytest.mark.slow
def test_a_mirror_that_died_is_replaced_at_the_end(tmp_path):
    run_dir = write_run(tmp_path / "run", TRIALS)
    with start_mirror(run_dir, None, run_dir.logs) as mirror:
        os.kill(mirror.pid, signal.SIGKILL)
        assert mirror.finish() == ""
    assert sum(len(run["points"]) for run in content(f"sqlite:///{tmp_path}/mlflow.db")) == POINTS


@pytest.mark.parametrize("end", ["the controller dies", "it is interrupted"])
@pytest.mark.slow
def test_without_its_controller_a_mirror_is_gone_within_three_seconds(tmp_path, end):
    """Also while its server does not answer: a listening socket that nobody reads from."""
    run_dir = write_run(tmp_path / "run", TRIALS)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        mirror = start_mirror(run_dir, uri, run_dir.logs)
        until(lambda: "mirroring" in log_of(run_dir))
        time.sleep(3)
        begin = time.monotonic()
        if end == "it is interrupted":
            mirror.stop()
        else:
            mirror._pipe.close()  # as the kernel does for a process that dies
            mirror._process.wait(10)
        assert time.monotonic() - begin < 3.0
