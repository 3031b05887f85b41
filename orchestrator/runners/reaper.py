"""Ends what a killed controller leaves behind: a process of its own, standard library only.

Ray's workers and servers end by themselves within seconds of a killed driver, but its agents wait a
minute. The reaper watches the controller's descendants; when its pipe closes without a farewell, it
gives them a grace and kills those that are left. A process is known by its number and its start
time, so that a number taken over by another process is not mistaken for it.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

FAREWELL = b"farewell\n"
LOOK_SECONDS = 1.0
GRACE_SECONDS = 3.5
"""Within it Ray's workers and the mirror end in good order."""

Identity = tuple[int, int]
"""Process number and start time in clock ticks."""


class Reaper:
    """Started by a controller; `dismiss` it when everything was ended in good order."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", __file__, str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is not for it
        )

    def dismiss(self) -> None:
        """Nothing is left to end."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(FAREWELL)
            self._process.stdin.close()
        self._process.wait()


def watch(controller: int) -> None:
    """Follow the controller's descendants until the pipe on standard input says how it ended."""
    known: dict[Identity, None] = {}
    while True:
        known.update(dict.fromkeys(descendants(controller, besides=os.getpid())))
        ready, _, _ = select.select([0], [], [], LOOK_SECONDS)
        if ready:
            break
    if os.read(0, len(FAREWELL)) != FAREWELL:
        time.sleep(GRACE_SECONDS)
        kill(known)


def descendants(root: int, *, besides: int) -> list[Identity]:
    """All processes below `root`, without the process `besides`."""
    children: dict[int, list[Identity]] = defaultdict(list)
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and (found := _stat(int(folder.name))):
            parent, started = found
            children[parent].append((int(folder.name), started))
    below, queue = [], [root]
    while queue:
        for identity in children[queue.pop()]:
            if identity[0] != besides:
                below.append(identity)
                queue.append(identity[0])
    return below


def kill(processes: dict[Identity, None]) -> None:
    """Kill those that still run."""
    for number, started in processes:
        found = _stat(number)
        if found is not None and found[1] == started:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)


def _stat(number: int) -> tuple[int, int] | None:
    """Parent and start time; None once the process is gone."""
    try:
        content = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = content.rpartition(")")[2].split()  # the name before may hold anything
    return int(fields[1]), int(fields[19])


if __name__ == "__main__":
    watch(int(sys.argv[1]))
