"""What is settled around Ray before it is imported and while it starts. Imports no Ray itself."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import NotReady, UsageError

CONNECT_SECONDS = 5.0
LONGEST_TMPDIR = 40
"""Ray puts sockets below, whose paths may have 107 bytes."""


def check_address(address: str) -> None:
    """Refuse what cannot work, and find out in seconds what Ray would give up after minutes.

    Raises:
        UsageError: not the form of an address.
        NotReady: nothing answers there.
    """
    if "://" in address:
        raise UsageError(
            f"--ray-address (or RAY_ADDRESS): '{address}' is not the address of a cluster's head; "
            "give host:port (of `ray start --head`), auto, or submit the command with "
            "`ray job submit`"
        )
    if address == "auto":
        address = _address_of_head()
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UsageError(f"--ray-address: '{address}' is none of host:port, auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise NotReady(f"--ray-address: nothing answers at {address}: {error}") from error


def _address_of_head() -> str:
    """Where `auto` leads. Ray by itself would go on to the private instances of other runs."""
    note = Path(os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp")
    note = note / "ray" / "ray_current_cluster"  # left by `ray start`
    if not note.exists():
        raise NotReady("--ray-address: auto finds no head on this machine; see `ray start --head`")
    return note.read_text(encoding="utf-8").strip()


def prepare_environment(*, local: bool) -> None:
    """Set what Ray reads while it is imported, in this process and in those it starts."""
    defaults = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or it warns; TrialWorker hides GPUs itself
        # Ray prints the death of a worker on our standard output; we say it in a message.
        "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",
    }
    if local:
        defaults["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # addresses are loopback addresses
        defaults.update(_token())
        if len(os.environ.get("TMPDIR", "")) > LONGEST_TMPDIR:
            defaults["RAY_TMPDIR"] = "/tmp"
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def _token() -> dict[str, str]:
    """A token of our own for each run, which leaves no file in the home directory.

    None where `ray` was imported without one: it has decided by then, and its servers, which would
    read the token, would refuse it.
    """
    mode = os.environ.get("RAY_AUTH_MODE")
    if mode is None and "ray" in sys.modules:
        return {}
    if mode not in (None, "token"):
        return {"RAY_AUTH_MODE": mode}
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


@contextmanager
def kept_signal_handlers() -> Iterator[None]:
    """Ray takes SIGTERM for itself; a controller has its own way to end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return  # there Ray leaves it alone
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:  # None: not set from Python, and then not for Python to restore
            signal.signal(signal.SIGTERM, before)


@contextmanager
def diverted_stderr(file: Path) -> Iterator[None]:
    """Keep in the file what anything in this process, C++ included, writes on standard error."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    before = os.dup(2)
    try:
        with file.open("wb") as target:
            os.dup2(target.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(before, 2)
        os.close(before)
        if not file.stat().st_size:
            file.unlink()


@dataclass(frozen=True, slots=True)
class DivertedLog:
    """Ray's logger under our hands, and how it was before."""

    handler: logging.Handler
    before: tuple[logging.Handler, ...]
    propagated: bool

    def restore(self) -> None:
        """Give the logger back."""
        logger = logging.getLogger("ray")
        logger.handlers[:] = self.before
        logger.propagate = self.propagated
        self.handler.close()


def divert_log(file: Path) -> DivertedLog:
    """Send what Ray logs in this process to the file, made with its first line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(file, delay=True, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("ray")
    diverted = DivertedLog(handler, tuple(logger.handlers), logger.propagate)
    logger.handlers[:] = [handler]
    logger.propagate = False
    return diverted
