"""What this machine has room for."""

from __future__ import annotations

import os
from pathlib import Path

from orchestrator.config import CommonConfig
from orchestrator.trial import Bundle

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


def local_workers(config: CommonConfig, bundle: Bundle) -> int:
    """Trials at a time: as asked, else as many as there are GPUs, or CPUs."""
    if config.workers is not None:
        return config.workers
    if config.runner == "inline":
        return 1
    room = local_gpus() / bundle.gpus if bundle.gpus else local_cpus() / bundle.cpus
    return max(int(room), 1)
