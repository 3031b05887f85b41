"""Ray and MLflow: present, and can they be reached; neither is imported."""

from __future__ import annotations

import os
import socket
import sqlite3
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from orchestrator.checks.finding import Finding, blocked, ok, one_line, warning
from orchestrator.errors import OrchestratorError
from orchestrator.run_dir import RunDir
from orchestrator.runners.ray_setup import check_address
from orchestrator.tracking.address import masked, sqlite_file, tracking_uri
from trainer.errors import TrainerError

ANSWER_SECONDS = 5.0
LONGEST_SOCKET = 107
"""Bytes in the path of a Unix socket; Ray adds about 70 to its temporary folder."""
RAY_SOCKET_SUFFIX = len("/session_2000-01-01_00-00-00_000000_1234567/sockets/plasma_store.1")
LEAST_FILES = 1024
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def check_ray(address: str | None) -> Iterator[Finding]:
    """Whether Ray could start here, or the cluster answers. No cluster is started for it."""
    try:
        found = version("ray")
    except PackageNotFoundError:
        yield blocked("ray", "not installed", "pip install 'ray[tune]', or --runner inline")
        return
    address = address or os.environ.get("RAY_ADDRESS")
    if address and address != "local":
        yield _cluster(address, found)
        return
    obstacles = [text for text in (_no_loopback(), _long_folder(), _few_files()) if text]
    if obstacles:
        yield blocked("ray", f"{found} would not start: {'; '.join(obstacles)}", "--runner inline")
    else:
        yield ok("ray", f"{found}; starts its own on this machine, on the loopback interface")


def _cluster(address: str, found: str) -> Finding:
    try:
        check_address(address)
    except OrchestratorError as error:
        remedy = "start it with `ray start --head`, or leave --ray-address and RAY_ADDRESS out"
        return blocked("ray", str(error), remedy)
    return ok("ray", f"{found}; {address} answers; its nodes need the same version")


def _no_loopback() -> str:
    try:
        with closing(socket.create_server(("127.0.0.1", 0))) as server:
            name = server.getsockname()
            socket.create_connection(name, timeout=ANSWER_SECONDS).close()
    except OSError as error:
        return f"no connection to a port of 127.0.0.1 ({one_line(error)})"
    return ""


def _long_folder() -> str:
    folder = os.environ.get("RAY_TMPDIR") or str(Path(tempfile.gettempdir()) / "ray")
    if len(os.fsencode(folder)) + RAY_SOCKET_SUFFIX <= LONGEST_SOCKET:
        return ""
    return f"the path of its folder is too long for a socket ({folder}); set RAY_TMPDIR=/tmp/ray"


def _few_files() -> str:
    import resource  # not on every system

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= LEAST_FILES:
        return ""
    return f"only {soft} files may be open; `ulimit -n {LEAST_FILES}`"


def check_mlflow(run_dir: RunDir, uri: str | None) -> Iterator[Finding]:
    """Whether what a run would be mirrored to is there. Training needs none of it."""
    try:
        found = version("mlflow")
    except PackageNotFoundError:
        yield warning("mlflow", "not installed: runs are not mirrored", "pip install mlflow")
        return
    try:
        place = tracking_uri(run_dir, uri)
    except (OrchestratorError, TrainerError) as error:
        yield blocked("mlflow", str(error), "give another address")
        return
    yield _store(place, found)


def _store(uri: str, found: str) -> Finding:
    shown, scheme = masked(uri), urlsplit(uri).scheme.partition("+")[0]
    database = sqlite_file(uri)
    if database is not None:
        problem = _database_problem(database)
    elif scheme in ("http", "https"):
        problem = _server_problem(uri)
    elif scheme in _PORTS:
        problem = _port_problem(uri, _PORTS[scheme])
    else:
        return ok("mlflow", f"{found}; {shown} (not looked at)")
    if problem:
        remedy = "mend it or give another --tracking-uri; runs train without, then `mlflow-sync`"
        return warning("mlflow", f"{shown}: {problem}", remedy)
    return ok("mlflow", f"{found}; {shown}")


def _database_problem(database: Path) -> str:
    """Nothing is made: a database that is not there is judged by its folder."""
    if not database.exists():
        existing = next(folder for folder in database.parents if folder.exists())
        return "" if os.access(existing, os.W_OK) else f"{existing} cannot be written to"
    if not os.access(database, os.W_OK):
        return "the file cannot be written to"
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    except sqlite3.Error as error:
        return f"no database that can be read ({one_line(error)})"
    return ""


def _server_problem(uri: str) -> str:
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    health = urlunsplit((parts.scheme, host, f"{parts.path.rstrip('/')}/health", "", ""))
    try:
        urllib.request.urlopen(health, timeout=ANSWER_SECONDS).close()
    except urllib.error.HTTPError as error:
        # Behind a login the server is there all the same.
        return "" if error.code in (401, 403) else f"answers {error.code} to /health"
    except urllib.error.URLError as error:
        return f"no answer ({error.reason})"
    except (OSError, ValueError) as error:
        return f"no answer ({one_line(error)})"
    return ""


def _port_problem(uri: str, usual: int) -> str:
    parts = urlsplit(uri)
    try:
        place = (parts.hostname or "localhost", parts.port or usual)
        socket.create_connection(place, timeout=ANSWER_SECONDS).close()
    except (OSError, ValueError) as error:
        return f"no answer ({one_line(error)})"
    return ""
