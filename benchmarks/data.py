"""The shared data sets, unpacked for the time of a benchmark."""

from __future__ import annotations

import tarfile
from pathlib import Path

from benchmarks.harness import Skipped

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

ARCHIVES = {"cifar10": "cifar10-12k-png.tar.gz", "flowers160": "flowers160.tar.gz"}


def unpacked(name: str, *, into: Path) -> Path:
    """The image folder of a shared data set: `<split>/<class>/<file>`.

    Raises:
        Skipped: it is not on this machine.
    """
    archive = SHARED / name / ARCHIVES[name]
    if not archive.exists():
        raise Skipped(f"shared/data/{name}/{archive.name} is not beside the repository")
    with tarfile.open(archive) as file:
        file.extractall(into, filter="data")
    return into / name
