"""MLflow's own pages for a run, served to this machine alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

from orchestrator.errors import NotReady, UsageError
from orchestrator.run_dir import RunDir
from orchestrator.tracking.address import artifact_root, masked, sqlite_file, tracking_uri
from orchestrator.tracking.workplace import fresh_database_alone, mlflow_settings

HOST = "127.0.0.1"


def ui(run_dir: RunDir, *, port: int) -> int:
    """Serve MLflow's pages until Ctrl-C; return the exit code.

    Raises:
        UsageError: the port is taken.
        NotReady: there is no database, or the run is shown by a server that has its own pages.
    """
    uri = tracking_uri(run_dir, None)
    _check(uri, port)
    with fresh_database_alone(uri):  # waits for a mirror that is just creating it
        server = _start(uri, run_dir, port)
    previous = signal.signal(signal.SIGTERM, lambda *_: _end(server, signal.SIGTERM))
    try:
        print(f"MLflow: http://{HOST}:{port} (end with Ctrl-C)", file=sys.stderr)
        return server.wait()
    except KeyboardInterrupt:
        _end(server, signal.SIGINT)
        server.wait()
        return 128 + signal.SIGINT
    finally:
        signal.signal(signal.SIGTERM, previous)


def _check(uri: str, port: int) -> None:
    if urlsplit(uri).scheme in ("http", "https"):
        raise NotReady(f"the tracking server serves its own pages; open {masked(uri)} in a browser")
    if (database := sqlite_file(uri)) is not None and not database.exists():
        raise NotReady(f"no MLflow database at {database} yet; a run, or mlflow-sync, makes it")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UsageError(f"--port: cannot listen on {port}: {error.strerror}") from error


def _start(uri: str, run_dir: RunDir, port: int) -> subprocess.Popen[bytes]:
    # The address goes by the environment: a password on the command line is there for all to read.
    environment = {**os.environ, **mlflow_settings(os.environ), "MLFLOW_BACKEND_STORE_URI": uri}
    environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # half a dozen processes less
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    command += ["--workers", "1", "--no-serve-artifacts"]
    if root := artifact_root(uri, run_dir):
        command += ["--default-artifact-root", root]
    return subprocess.Popen(command, env=environment, process_group=0)


def _end(server: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if server.poll() is None:
        os.killpg(server.pid, number)  # the server's own workers too
