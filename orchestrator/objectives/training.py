"""A training run as a trial: the data, the checkpoints, the reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.run_dir import RunDir
from orchestrator.runners.base import Job, KeepCheckpoints
from orchestrator.trial import Report, plain_report
from trainer.config import DataConfig, EpochReport, TrainConfig

if TYPE_CHECKING:
    import torch

    from trainer.data.splits import Splits
    from trainer.fit import Beat


def trained(
    job: Job,
    config: TrainConfig,
    splits: Splits,
    should_stop: Callable[[], bool],
    *,
    known: int,
    until: int | None,
    parent: Path | None = None,
    keep: KeepCheckpoints | None = None,
) -> Iterator[Report]:
    """Train in the trial's folder, from its checkpoint where there is one; a report per epoch.

    Args:
        job: Whose trial it is.
        config: What is trained.
        splits: What on.
        should_stop: Asked before every batch.
        known: Epochs whose reports are not needed again.
        until: Epoch after which to pause.
        parent: A checkpoint to go on from where the trial has none of its own.
        keep: Which checkpoints stay; None means as the run has it.
    """
    from trainer.checkpoint import Checkpointing
    from trainer.fit import fit

    workspace = job.workspace
    checkpointing = Checkpointing(
        directory=RunDir(workspace.run_root).trial(job.spec.stage, job.spec.key),
        every_seconds=workspace.checkpoint_seconds,
        attempt=job.attempt,
        keep=keep or workspace.keep_checkpoints,
        damaged="set-aside",
        parent=parent,
    )
    for item in fit(
        config,
        splits,
        device=device_of(job),
        checkpoint=checkpointing,
        known_epochs=known,
        stop_after=until,
        should_stop=should_stop,
    ):
        yield plain_report(_as_report(item))


def device_of(job: Job) -> torch.device:
    """Where the trial computes."""
    import torch

    return torch.device("cuda" if job.spec.resources[0].gpus else "cpu")


@lru_cache(maxsize=4)
def open_splits(data: DataConfig, cache_root: Path, skip_unreadable: bool) -> Splits:
    """The data set's splits, memory-mapped; a worker opens them once for all its trials."""
    from trainer.data.cache import prepare
    from trainer.data.splits import carve

    decoded = prepare(data.dataset, cache_root=cache_root, skip_unreadable=skip_unreadable)
    return carve(decoded, data)


def splits_for(job: Job, data: DataConfig) -> Splits:
    """The splits that a trial's configuration means."""
    return open_splits(data, job.workspace.cache_root, job.workspace.skip_unreadable)


def _as_report(item: EpochReport | Beat) -> dict[str, Any]:
    """An epoch's report, or a sign of life, which has no `epoch`."""
    values = item.to_json()
    return values if isinstance(item, EpochReport) else {"training": values.pop("epoch"), **values}
