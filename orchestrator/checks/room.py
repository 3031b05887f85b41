"""Memory, and disk where runs, decoded images and Ray's files go."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from orchestrator.checks.finding import Finding, blocked, ok, one_line, warning
from orchestrator.machine import local_cpus
from orchestrator.reporting.formats import size
from orchestrator.reporting.status import holder_of
from orchestrator.run_dir import RunDir

WORKER_BYTES = 10**9
"""What a process with torch takes before it has a large batch."""
LEAST_DISK = 10**9
SHARED_MEMORY = Path("/dev/shm")
LEAST_SHARED = 200 * 10**6
"""Ray's store of messages, and some."""
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def check_memory() -> Iterator[Finding]:
    """Memory that is free for a worker on each CPU."""
    free = available_memory()
    if free is None:
        yield warning("memory", "this system does not say what is free", "watch it during a run")
        return
    room = int(free // WORKER_BYTES)
    says = f"{size(free)} available"
    if room < 1:
        yield blocked("memory", f"{says}: no room for a worker", "end other programs")
    elif room < local_cpus():
        remedy = f"--workers {room}, or end other programs"
        yield warning("memory", f"{says}, for {local_cpus()} CPUs", remedy)
    else:
        yield ok("memory", says)


def check_disk(run_dir: Path, cache: Path) -> Iterator[Finding]:
    """Room, and leave to write, for the run, the cache and temporary files."""
    yield _folder("run directory", run_dir, remedy="another --run-dir")
    yield _folder("cache", cache, remedy="another folder: --set cache_dir=DIR")
    yield _folder("temporary files", Path(tempfile.gettempdir()), remedy="another TMPDIR")


def check_holder(run_dir: RunDir) -> Iterator[Finding]:
    """Whether somebody else is at work on the run directory."""
    holder = holder_of(run_dir.lock)
    if holder is not None:
        says = f"another controller is at work on {run_dir.root}: {holder}"
        yield blocked("run directory", says, "wait for it, end it, or give another --run-dir")


def check_shared_memory() -> Iterator[Finding]:
    """Where Ray's processes hand messages to each other."""
    if not SHARED_MEMORY.is_dir():
        remedy = "in a container: --shm-size=1g"
        yield warning("shared memory", f"there is no {SHARED_MEMORY}: Ray uses a disk", remedy)
        return
    free = shutil.disk_usage(SHARED_MEMORY).free
    if free < LEAST_SHARED:
        remedy = "in a container: --shm-size=1g"
        says = f"{SHARED_MEMORY} has {size(free)}: Ray uses a disk"
        yield warning("shared memory", says, remedy)
    else:
        yield ok("shared memory", f"{SHARED_MEMORY} has {size(free)}")


def available_memory() -> int | None:
    """Bytes that can be taken before something has to go: the machine's, or the container's."""
    limits = [bytes_ for bytes_ in (_machine_memory(), _container_memory()) if bytes_ is not None]
    return min(limits, default=None)


def _machine_memory() -> int | None:
    try:
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line for line in lines if line.startswith("MemAvailable:")]
    return int(found[0].split()[1]) * 1024 if found else None


def _container_memory() -> int | None:
    try:
        limit = (_CGROUP / "memory.max").read_text(encoding="ascii").strip()
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(int(limit) - used, 0)


def _folder(about: str, folder: Path, *, remedy: str) -> Finding:
    """Judged by the nearest folder that exists: nothing is made."""
    place = folder.absolute()
    existing = next(path for path in (place, *place.parents) if path.exists())
    if not existing.is_dir():
        return blocked(about, f"{existing} is a file", remedy)
    if not os.access(existing, os.W_OK | os.X_OK):
        return blocked(about, f"{existing} cannot be written to", remedy)
    try:
        free = shutil.disk_usage(existing).free
    except OSError as error:
        return blocked(about, f"{existing}: {one_line(error)}", remedy)
    says = f"{folder}: {size(free)} free"
    if free < LEAST_DISK:
        return blocked(about, says, f"make room, or {remedy}")
    return ok(about, says)
