"""Where a result comes from: commit, packages, host."""

from __future__ import annotations

import platform
import socket
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("orchestrator", "torch", "torchvision", "ray", "optuna", "mlflow", "numpy")


@lru_cache(maxsize=1)
def git_sha() -> str:
    """The commit of our own source, `unknown` where it does not run from a checkout of ours."""
    source = Path(__file__).resolve().parent
    answer = _git(source, "rev-parse", "--show-toplevel", "HEAD").split()
    # An installed copy may lie inside somebody else's repository: theirs is not our commit.
    if len(answer) == 2 and Path(answer[0]) == source.parent:
        return answer[1]
    return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def packages() -> dict[str, str]:
    """The versions that matter to a result; a package that is absent is left out."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def host() -> dict[str, str]:
    """This machine, in words."""
    return {
        "name": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
    }
