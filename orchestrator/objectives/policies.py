"""The trials of a policy search: folds, scored policies, generations of a population."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import lru_cache
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING

from orchestrator.objectives.policy_trials import FoldConfig, GenerationConfig, ScoreConfig
from orchestrator.objectives.training import device_of, open_splits, splits_for, trained
from orchestrator.run_dir import RunDir
from orchestrator.runners.base import Job, Workspace
from orchestrator.trial import Report

if TYPE_CHECKING:
    import torch
    from torch import nn

    from trainer.data.splits import Splits

log = logging.getLogger(__name__)


def train_fold(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Train a fold's model; its accuracy is that on the images held out from it."""
    config = job.spec.config
    assert isinstance(config, FoldConfig)
    splits = _divided(config, job.workspace)
    yield from trained(
        job,
        config.train,
        splits,
        should_stop,
        known=job.known_epochs,
        until=None,
        keep="best-and-last",  # the weights are what the trial is for
    )


def train_generation(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Train one generation of a member on from its parent; its epochs count from 1."""
    config = job.spec.config
    assert isinstance(config, GenerationConfig)
    run = RunDir(job.workspace.run_root)
    parent = None
    if config.parent is not None:
        parent = run.trial(job.spec.stage, config.parent) / "last.pt"
    for report in trained(
        job,
        config.train,
        splits_for(job, config.train.data),
        should_stop,
        known=config.begin + job.known_epochs,
        until=config.end,
        parent=parent,
    ):
        if "epoch" in report:
            report = {**report, "epoch": report["epoch"] - config.begin}
        yield report
    kept = job.workspace.keep_checkpoints == "all"
    if config.retires is not None and not kept:  # all generations may not fit the disk
        (run.trial(job.spec.stage, config.retires) / "last.pt").unlink(missing_ok=True)


def score_policy(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Score a policy by a model that never saw one, on augmented images held out from it.

    The score is the mean over the draws; the best of several draws would measure their noise.
    """
    from trainer.density import density_scores

    config = job.spec.config
    assert isinstance(config, ScoreConfig)
    started = monotonic()
    train, device = config.judge.train, device_of(job)
    model = _judge(config.judge, config.judge_key, job.spec.stage, job.workspace, device)
    scores = density_scores(
        model,
        _divided(config.judge, job.workspace).selection,
        config.policy,
        config=train,
        draws=config.draws,
        device=device,
        should_stop=should_stop,
    )
    if scores is not None:
        seconds = monotonic() - started
        yield {
            "epoch": 1,
            "top1": scores.top1,
            "loss": scores.loss,
            "num_images": scores.count,
            "seconds": seconds,
            "images_per_second": scores.count / seconds,
        }


@lru_cache(maxsize=8)
def _divided(config: FoldConfig, workspace: Workspace) -> Splits:
    """The training images in two: what the fold's model learns, and what it is tried on."""
    from trainer.data.splits import hold_out

    data = config.train.data
    splits = open_splits(data, workspace)
    return hold_out(splits, config.held_out, seed=data.split_seed, number=config.fold)


@lru_cache(maxsize=8)
def _judge(
    config: FoldConfig, key: str, stage: str, workspace: Workspace, device: torch.device
) -> nn.Module:
    """The fold's trained model; trained here once more where its checkpoint is out of reach."""
    from trainer.checkpoint import Checkpointing
    from trainer.errors import CheckpointError
    from trainer.fit import fit
    from trainer.restoring import trained_model

    folder = RunDir(workspace.run_root).trial(stage, key)
    try:
        return trained_model(folder, config.train, device=device)
    except CheckpointError as error:
        log.warning("%s; the fold is trained again", error)
    with TemporaryDirectory() as scratch:
        again = Checkpointing(directory=Path(scratch), every_seconds=inf)
        for _ in fit(config.train, _divided(config, workspace), device=device, checkpoint=again):
            pass
        return trained_model(Path(scratch), config.train, device=device)
