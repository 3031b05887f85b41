"""What this machine has room for."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.config.common import CommonConfig
from orchestrator.trial import Bundle
from search_spaces.budget import parse_count

SHARE = 0.9
"""Of the memory there is, what trials may have together."""
PROCESS_BYTES = 600 * 10**6
"""A process that has loaded torch, or a CUDA context, with nothing to train."""

_GPUS = Path("/proc/driver/nvidia/gpus")


def local_gpus() -> int:
    """GPUs of this machine, without loading torch; none where they are hidden from us."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    return len(list(_GPUS.iterdir())) if _GPUS.is_dir() else 0


def local_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def bundle_for(config: CommonConfig) -> Bundle:
    """What one trial gets: a CPU, and a GPU where there are any and none was declined."""
    gpus = config.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if local_gpus() and config.ray_address is None else 0.0
    return Bundle(cpus=1, gpus=gpus)


def memory_for(config: CommonConfig, bundle: Bundle, *, asked: str | None) -> int | None:
    """Bytes that a step of one trial may take: as asked (`6G`), or its part of this machine's.

    Of all memory, not of what happens to be free, so that the same machine gives the same answer.
    None on a cluster, whose machines are not known here, and where the system does not tell.
    """
    if asked is not None:
        return parse_count(asked, path="memory_per_trial")
    if config.ray_address is not None:
        return None
    if bundle.gpus:
        return gpu_memory(min(bundle.gpus, 1.0))
    total = total_memory()
    if total is None:
        return None
    each = int(SHARE * total) // local_workers(config, bundle)
    return max(each - PROCESS_BYTES, 0)


def gpu_memory(share: float) -> int | None:
    """Bytes of a part of a GPU, less what its context takes."""
    import torch  # only where there is one, and a plan needs it

    if not torch.cuda.is_available():
        return None
    total = torch.cuda.get_device_properties(0).total_memory
    return max(int(SHARE * share * total) - PROCESS_BYTES, 0)


def total_memory() -> int | None:
    """Bytes of this machine, or of the container that we are in."""
    limits = [limit for limit in (_machine_total(), _container_limit()) if limit is not None]
    return min(limits, default=None)


def _machine_total() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None


def _container_limit() -> int | None:
    try:
        text = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def local_workers(config: CommonConfig, bundle: Bundle) -> int:
    """Trials at a time: as asked, else as many as there are GPUs, or CPUs."""
    if config.workers is not None:
        return config.workers
    if config.runner == "inline":
        return 1
    room = local_gpus() / bundle.gpus if bundle.gpus else local_cpus() / bundle.cpus
    return max(int(room), 1)
