"""What one trial does, by name: the extension point for stages that do other things than train."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.run_dir import RunDir
from orchestrator.runners.base import Job, Objective
from orchestrator.trial import Report, plain_report
from trainer.config import DataConfig, EpochReport, TrainConfig

if TYPE_CHECKING:
    from trainer.data.splits import Splits
    from trainer.fit import Beat


def train(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Train one configuration, from its checkpoint where there is one, and report every epoch."""
    from trainer.checkpoint import Checkpointing
    from trainer.fit import fit

    config, workspace = job.spec.config, job.workspace
    assert isinstance(config, TrainConfig)
    splits = open_splits(config.data, workspace.cache_root, workspace.skip_unreadable)
    folder = RunDir(workspace.run_root).trial(job.spec.stage, job.spec.key)
    checkpointing = Checkpointing(
        directory=folder,
        every_seconds=workspace.checkpoint_seconds,
        attempt=job.attempt,
        keep=workspace.keep_checkpoints,
        damaged="set-aside",
    )
    device = "cuda" if job.spec.resources[0].gpus else "cpu"
    for item in fit(
        config,
        splits,
        device=device,
        checkpoint=checkpointing,
        known_epochs=job.known_epochs,
        stop_after=job.until,
        should_stop=should_stop,
    ):
        yield plain_report(_as_report(item))


def _as_report(item: EpochReport | Beat) -> dict[str, Any]:
    """An epoch's report, or a sign of life, which has no `epoch`."""
    values = item.to_json()
    return values if isinstance(item, EpochReport) else {"training": values.pop("epoch"), **values}


@lru_cache(maxsize=4)
def open_splits(data: DataConfig, cache_root: Path, skip_unreadable: bool) -> Splits:
    """The data set's splits, memory-mapped; a worker opens them once for all its trials."""
    from trainer.data.cache import prepare
    from trainer.data.splits import carve

    decoded = prepare(data.dataset, cache_root=cache_root, skip_unreadable=skip_unreadable)
    return carve(decoded, data)


OBJECTIVES: dict[str, Objective] = {"train": train}
