"""The append-only file that remembers a run: one JSON event a line, one writer, many readers.

Events, in the order in which a trial meets them (each also carries `t`, seconds since the epoch):

| event | fields |
|---|---|
| `session` | `pid`, `host`, `versions`: a controller began or resumed |
| `stage` | `stage`, `question`, `plan`: what is asked; again whenever the question changes |
| `proposed` | `number`, and the trial's specification |
| `started` | `key`, `attempt`, `until` |
| `report` | `key`, `attempt`, `report`: epoch by epoch, from 1 |
| `paused` | `key`, `epoch`: waits at a milestone |
| `decision` | `stage`, `epoch`, `promoted`, `stopped`, `report`: written before it is acted on |
| `lost` | `key`, `attempt`, `reason`: its worker died; the trial goes on in another |
| `finished` | `key`, `attempt`, `epochs`: how many it reported |
| `failed` | `key`, `attempt`, `error`, `traceback` |
| `concluded` | `stage`: `result.json` is whole |
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, TypeAlias

from orchestrator.errors import NotReady, RunDirHeld
from orchestrator.run_dir import RunDir

Event: TypeAlias = dict[str, Any]


class Journal:
    """The writing end. Hold it inside `open_journal`."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._end = self._synced = file.seek(0, os.SEEK_END)
        self._synced_at = time.monotonic()

    def append(self, events: Sequence[Mapping[str, Any]]) -> list[tuple[Event, bytes]]:
        """Append the events, all or none, and return them as written; waits for the disk.

        Raises:
            NotReady: the disk is full or fails; the file ends as it did before.
        """
        written = self.write(events)
        self.sync()
        return written

    def write(self, events: Sequence[Mapping[str, Any]]) -> list[tuple[Event, bytes]]:
        """Append the events without waiting for the disk.

        They survive the death of this process from here on, and that of the machine from there.
        An event that brings its own time `t`, of something that happened elsewhere, keeps it.

        Raises:
            NotReady: the disk is full or fails; the file ends as it did before.
        """
        now = round(time.time(), 3)
        written = [{**event, "t": event.get("t", now)} for event in events]
        lines = [_encode(event) for event in written]
        content = b"".join(lines)
        with self._cut_on_failure(self._end):
            # Unbuffered: the file may take a part of it and have no room for the rest.
            if self._file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._end += len(content)
        return list(zip(written, lines, strict=True))

    def sync(self, *, patience: float = 0.0) -> None:
        """Wait until all that was written is on the disk.

        Returns at once if it is, or if the last wait was less than `patience` seconds ago.

        Raises:
            NotReady: the disk fails; the file ends as it did at the last `sync`.
        """
        if self._synced == self._end or time.monotonic() - self._synced_at < patience:
            return
        with self._cut_on_failure(self._synced):
            os.fsync(self._file.fileno())
        self._synced, self._synced_at = self._end, time.monotonic()

    @contextmanager
    def _cut_on_failure(self, end: int) -> Iterator[None]:
        """What readers see must end with a whole line, and with one that was there."""
        try:
            yield
        except OSError as error:
            self._end = end  # never below what is synced
            os.ftruncate(self._file.fileno(), end)
            raise NotReady(f"cannot write {self._file.name}: {error.strerror}") from error


@contextmanager
def open_journal(run_dir: RunDir) -> Iterator[tuple[Journal, list[str]]]:
    """Take the run directory for this process; yield the journal and what had to be mended.

    Raises:
        RunDirHeld: another controller holds it; its process is named.
    """
    run_dir.root.mkdir(parents=True, exist_ok=True)
    with hold(run_dir.lock, doing="another controller is at work on"):
        mended = _cut_torn_tail(run_dir.journal)
        with run_dir.journal.open("ab", buffering=0) as file:
            yield Journal(file), mended


@contextmanager
def hold(path: Path, *, doing: str) -> Iterator[None]:
    """Hold an advisory lock that dies with this process; the file says who holds it.

    Raises:
        RunDirHeld: it is held already.
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "an unknown process"
            raise RunDirHeld(f"{doing} {path.parent}: {holder}; wait for it or end it") from None
        file.truncate(0)
        file.write(f"pid {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def read_events(path: Path, *, offset: int = 0) -> tuple[list[tuple[Event, bytes]], int]:
    """The whole lines from a byte offset on, with the offset to continue at.

    A line that is not an event is passed over: a reader never fails on what a crash left behind.
    """
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read()
    end = content.rfind(b"\n") + 1
    pairs = ((_decode(line), line) for line in content[:end].splitlines(keepends=True))
    return [(event, line) for event, line in pairs if event is not None], offset + end


def _encode(event: Mapping[str, Any]) -> bytes:
    text = json.dumps(event, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def _decode(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _cut_torn_tail(path: Path) -> list[str]:
    """Cut a last line that was never finished: its event was never acted on."""
    if not path.exists():
        return []
    with path.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        said = []
        if whole < len(content):
            file.truncate(whole)
            said.append(
                f"the journal ended in the middle of a line: {len(content) - whole} bytes cut"
            )
    damaged = sum(_decode(line) is None for line in content[:whole].splitlines())
    if damaged:
        said.append(f"the journal has {damaged} damaged lines: passed over")
    return said
