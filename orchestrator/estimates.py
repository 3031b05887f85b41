"""What a plan will cost, before it is paid: epochs, hours, disk."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from orchestrator.errors import NotReady
from orchestrator.history import Trial
from trainer.config import Strict, TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """One planned trial: what an epoch of it computes, and how many there are."""

    macs: int
    params: int
    epochs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost(Strict):
    """The `plan` object of a document."""

    trials: int
    epochs: int
    """Of all trials together."""
    estimated_hours: float | None
    """Wall time; None until an epoch was timed."""
    estimated_gpu_hours: float | None
    disk_bytes: int
    """What the checkpoints take at the end."""


def cost_of(
    runs: Sequence[PlannedRun],
    *,
    seconds_per_mac: float | None,
    workers: int,
    gpus_per_trial: float,
    bytes_per_param: int,
) -> Cost:
    """Add up a plan. `seconds_per_mac` is one epoch's time over the network's MACs for one image.

    Time goes with MACs only roughly (small networks cost more than they count): an estimate.
    """
    work = sum(run.macs * run.epochs for run in runs)
    hours = None if seconds_per_mac is None else work * seconds_per_mac / 3600
    return Cost(
        trials=len(runs),
        epochs=sum(run.epochs for run in runs),
        estimated_hours=None if hours is None else hours / max(workers, 1),
        estimated_gpu_hours=None if hours is None else hours * gpus_per_trial,
        disk_bytes=sum(run.params for run in runs) * bytes_per_param,
    )


def measured_rate(trials: Iterable[Trial]) -> float | None:
    """Seconds an epoch takes for each MAC of its network, from the epochs that ran; the median."""
    rates = []
    for trial in trials:
        macs = trial.labels.get("macs") if trial.reports else None
        if macs:
            rates += [report["seconds"] / macs for report in trial.reports]
    return median(rates) if rates else None


def bytes_per_param(recipe: TrainConfig, keep: str) -> int:
    """Of a finished trial's checkpoints: float32 weights, their average, the best of them."""
    if keep == "none":
        return 0
    last = 4 * (1 + (recipe.ema_decay > 0))
    return last + 4 + (4 * recipe.epochs if keep == "all" else 0)


def check_disk(folder: Path, needed: int) -> None:
    """Refuse a plan that the disk cannot hold beside what is there of it. Raises: NotReady."""
    needed -= sum(path.stat().st_size for path in folder.rglob("*.pt"))
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise NotReady(
            f"--run-dir: {folder} has {free / 1e9:.1f} GB free, the planned checkpoints take "
            f"{needed / 1e9:.1f} GB; make room, or use --keep-checkpoints none"
        )
