"""A training run as a trial: the data, the checkpoints, the reports."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.run_dir import MODEL_FOLDER, RunDir
from orchestrator.runners.base import Job, KeepCheckpoints, Workspace
from orchestrator.trial import Report, plain_report
from trainer.config import DataConfig, EpochReport, TrainConfig

if TYPE_CHECKING:
    import torch

    from trainer.data.splits import Splits
    from trainer.fit import Beat
    from trainer.transfer import Weights

log = logging.getLogger(__name__)


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
        initial=initial_weights(job, config),
        known_epochs=known,
        stop_after=until,
        should_stop=should_stop,
    ):
        yield plain_report(_as_report(item))


def keep_model(job: Job, config: TrainConfig, report: Report) -> None:
    """Write the model of a run that has just ended, evaluated as `report` says.

    Raises: CheckpointError, DiskFull.
    """
    from trainer.portable.files import write_model
    from trainer.portable.making import portable
    from trainer.restoring import trained_model

    folder = RunDir(job.workspace.run_root).trial(job.spec.stage, job.spec.key)
    model = portable(
        trained_model(folder, config),
        config,
        splits_for(job, config.data).train,
        name=str(job.spec.labels.get("name") or job.spec.key),
        scores={
            "split": config.data.evaluate_on,
            **{name: report[name] for name in ("top1", "top5", "loss", "num_images")},
        },
        origin={"trial": job.spec.key, "seed": config.seed, "epochs": config.epochs},
    )
    write_model(folder / MODEL_FOLDER, model)


def recover_model(job: Job, config: TrainConfig) -> None:
    """Write the model of a run that has ended before, unless it is there; its state may be gone."""
    from trainer.checkpoint import Checkpointing, load_run
    from trainer.errors import CheckpointError
    from trainer.portable.files import RECIPE

    folder = RunDir(job.workspace.run_root).trial(job.spec.stage, job.spec.key)
    if (folder / MODEL_FOLDER / RECIPE).exists():
        return
    try:
        history = load_run(Checkpointing(directory=folder).last, config=config).history
        keep_model(job, config, history[-1].to_json())
    except CheckpointError as error:
        log.warning("%s; no model is left", error)


def initial_weights(job: Job, config: TrainConfig) -> Weights | None:
    """What training begins from, if it is not chance; the run directory has it."""
    from trainer.transfer import read_weights

    if config.initial is None:
        return None
    digest = config.initial.digest
    return read_weights(RunDir(job.workspace.run_root).weights(digest), digest=digest)


def device_of(job: Job) -> torch.device:
    """Where the trial computes."""
    import torch

    return torch.device("cuda" if job.spec.resources[0].gpus else "cpu")


@lru_cache(maxsize=4)
def open_splits(data: DataConfig, workspace: Workspace) -> Splits:
    """The data set's splits, memory-mapped; a worker opens them once for all its trials."""
    from trainer.data.cache import prepare
    from trainer.data.splits import carve

    decoded = prepare(
        data.dataset,
        cache_root=workspace.cache_root,
        skip_unreadable=workspace.skip_unreadable,
        limit_bytes=workspace.cache_limit,
    )
    return carve(decoded, data)


def splits_for(job: Job, data: DataConfig) -> Splits:
    """The splits that a trial's configuration means."""
    return open_splits(data, job.workspace)


def _as_report(item: EpochReport | Beat) -> dict[str, Any]:
    """An epoch's report, or a sign of life, which has no `epoch`."""
    values = item.to_json()
    return values if isinstance(item, EpochReport) else {"training": values.pop("epoch"), **values}
