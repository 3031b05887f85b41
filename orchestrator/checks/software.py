"""Python, the packages, and whether torch works; torch is tried in a process of its own."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from typing import Any

from orchestrator.checks.finding import Finding, blocked, ok, warning
from orchestrator.machine import local_cpus, local_gpus

OLDEST_PYTHON = (3, 11)
TRY_SECONDS = 120
"""Torch on a cold network disk takes a minute."""
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[.*?\])?\s*>=\s*(?P<least>[\d.]+)")

# A torch that does not fit its machine may end the process rather than raise.
_TRY_TORCH = """
import json, sys
import torch, torchvision
from torchvision.ops import nms
facts = {"torch": torch.__version__, "torchvision": torchvision.__version__}
nms(torch.rand(2, 4), torch.rand(2), 0.5)
torch.nn.functional.conv2d(torch.rand(1, 3, 8, 8), torch.rand(4, 3, 3, 3))
facts["gpus"] = []
facts["gpu_error"] = ""
if torch.cuda.is_available():
    for index in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(index)
        facts["gpus"].append({"name": about.name, "bytes": about.total_memory})
    try:
        torch.rand(8, 8, device="cuda").matmul(torch.rand(8, 8, device="cuda")).sum().item()
    except RuntimeError as error:
        facts["gpu_error"] = str(error)
print("FACTS" + json.dumps(facts))
"""


def check_python() -> Iterator[Finding]:
    """The interpreter."""
    found = platform.python_version()
    if sys.version_info[:2] < OLDEST_PYTHON:
        least = ".".join(map(str, OLDEST_PYTHON))
        yield blocked("python", f"{found} is too old", f"use Python {least} or newer")
    else:
        yield ok("python", f"{found} at {sys.executable}")


def check_packages() -> Iterator[Finding]:
    """Every package that we need, against the oldest version that will do."""
    wanted = list(_requirements())
    if not wanted:
        remedy = "pip install --editable . in the checkout"
        yield warning("packages", "orchestrator is not installed: versions are unknown", remedy)
        return
    complaints = [complaint for name, least in wanted if (complaint := _complaint(name, least))]
    for complaint in complaints:
        yield blocked("packages", complaint, "pip install --upgrade orchestrator")
    if not complaints:
        yield ok("packages", f"all {len(wanted)} present and new enough")


def check_torch() -> Iterator[Finding]:
    """Whether torch and torchvision import, fit each other and compute; then the devices."""
    try:
        if find_spec("torch") is None:
            raise _DoesNotWork("not installed")
        facts = _try_torch()
    except (_DoesNotWork, ImportError, ValueError) as error:
        remedy = "install both together: pip install --force-reinstall torch torchvision"
        yield blocked("torch", str(error), remedy)
        return
    yield ok("torch", f"{facts['torch']}, torchvision {facts['torchvision']}, both compute")
    yield _device(facts)


class _DoesNotWork(Exception):
    """Why torch cannot be used, on one line."""


def _try_torch() -> dict[str, Any]:
    command = [sys.executable, "-c", _TRY_TORCH]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TRY_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise _DoesNotWork(f"did not import within {TRY_SECONDS} s") from None
    for line in done.stdout.splitlines():
        if line.startswith("FACTS"):
            facts: dict[str, Any] = json.loads(line.removeprefix("FACTS"))
            return facts
    last = done.stderr.strip().splitlines()[-1:] or [""]
    if done.returncode < 0:
        raise _DoesNotWork(f"crashed on import (signal {-done.returncode}) {last[0]}".strip())
    raise _DoesNotWork(f"does not import: {last[0]}")


def _device(facts: dict[str, Any]) -> Finding:
    gpus = facts["gpus"]
    if facts["gpu_error"]:
        remedy = "update the GPU's driver, or hide the GPU with CUDA_VISIBLE_DEVICES="
        return blocked("device", f"the GPU does not compute: {facts['gpu_error']}", remedy)
    if gpus:
        names = ", ".join(f"{gpu['name']} ({gpu['bytes'] / 2**30:.0f} GiB)" for gpu in gpus)
        return ok("device", f"{len(gpus)} GPU: {names}; {local_cpus()} CPUs")
    if present := local_gpus():
        remedy = "install the torch build for your CUDA version, or look at CUDA_VISIBLE_DEVICES"
        return warning("device", f"torch does not see the {present} GPU of this machine", remedy)
    return ok("device", f"no GPU; {local_cpus()} CPUs, one for each trial")


def _requirements() -> Iterator[tuple[str, str]]:
    """Package and oldest version, as our own metadata has them."""
    try:
        lines = requires("orchestrator") or []
    except PackageNotFoundError:
        return
    for line in lines:
        if match := _REQUIREMENT.match(line):
            yield match["name"], match["least"]


def _complaint(name: str, least: str) -> str:
    try:
        found = version(name)
    except PackageNotFoundError:
        return f"{name} is not installed (needs {least} or newer)"
    return "" if _numbers(found) >= _numbers(least) else f"{name} {found} is older than {least}"


def _numbers(text: str) -> tuple[int, ...]:
    """1.10.2rc1+cpu is (1, 10, 2): enough for a lower bound."""
    leading = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in leading[0].split(".")) if leading else ()
