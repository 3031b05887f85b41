"""The trials of a resolution adaptation: a sweep of test resolutions, an adaptation to one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.objectives.resolution_trials import AdaptConfig, Origin, SweepConfig
from orchestrator.objectives.training import device_of, splits_for
from orchestrator.run_dir import MODEL_FOLDER, RunDir
from orchestrator.runners.base import Job
from orchestrator.trial import Report, plain_report
from trainer.config import TrainConfig

if TYPE_CHECKING:
    import torch
    from torch import nn

    from trainer.fixres.sweep import Points

log = logging.getLogger(__name__)


def sweep_resolutions(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Evaluate a network at each test resolution; the reports count them from 1."""
    from trainer.fit import Beat
    from trainer.fixres.sweep import sweeping

    config = job.spec.config
    assert isinstance(config, SweepConfig)
    splits, device = splits_for(job, config.source.data), device_of(job)
    steps = sweeping(
        _swept(config, job, device),
        splits.selection if config.evaluate_on == "selection" else splits.reporting,
        config.resolutions,
        config=config.source,
        crop_fraction=config.crop_fraction,
        device=device,
        should_stop=should_stop,
    )
    with closing(steps):
        for item in steps:
            if isinstance(item, Beat):
                values = item.to_json()
                yield {"training": values.pop("epoch"), **values}
            else:
                yield from _reports(item)


def adapt(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Adapt a network to a test resolution; the first report is of the network as it came."""
    from trainer.checkpoint import Checkpointing
    from trainer.config import EpochReport
    from trainer.fixres.adapt import fixres
    from trainer.fixres.features import Storage

    config = job.spec.config
    assert isinstance(config, AdaptConfig)
    device, workspace = device_of(job), job.workspace
    folder = RunDir(workspace.run_root).trial(job.spec.stage, job.spec.key)
    folder.mkdir(parents=True, exist_ok=True)
    source = config.adaptation.source
    reports = fixres(
        config.adaptation,
        _network(config.origin, source, job, device),
        splits_for(job, source.data),
        device=device,
        checkpoint=Checkpointing(
            directory=folder,
            every_seconds=workspace.checkpoint_seconds,
            attempt=job.attempt,
            damaged="set-aside",
        ),
        known_reports=job.known_epochs,
        storage=Storage(scratch=folder),
        should_stop=should_stop,
    )
    with closing(reports):
        for item in reports:
            values = item.to_json()
            epoch = values.pop("epoch")
            # a journal counts from 1, an adaptation's report of what it was given is its 0th
            count = {"epoch": epoch + 1} if isinstance(item, EpochReport) else {"training": epoch}
            yield plain_report({**count, **values})


def sources(run: RunDir, stage: str) -> Path:
    """The folder of the networks that a run was given, each under the digest of its weights."""
    return run.stage(stage) / "sources"


def model_folder(run: RunDir, stage: str, origin: Origin) -> Path:
    """Where a network lies that is to be adapted."""
    if origin.trial is not None:
        return run.trial(stage, origin.trial) / MODEL_FOLDER
    assert origin.weights is not None
    return sources(run, stage) / origin.weights


def _reports(points: Points) -> Iterator[Report]:
    for number, point in enumerate(points, start=1):
        values = point.to_json()
        seen = values.pop("preprocessing")
        seconds = point.num_images / point.images_per_second if point.images_per_second else 0.0
        yield plain_report(
            {"epoch": number, "resolution": seen["resolution"], **values, "seconds": seconds}
        )


def _swept(config: SweepConfig, job: Job, device: torch.device) -> nn.Module:
    """The network as it is to be evaluated; adapted once more where its checkpoint is gone."""
    from trainer.errors import CheckpointError
    from trainer.fixres.adapt import fixres
    from trainer.fixres.saving import adapted_model

    if config.adapted is None or config.adapted_by is None:
        return _network(config.origin, config.source, job, device)
    folder = RunDir(job.workspace.run_root).trial(job.spec.stage, config.adapted_by)
    try:
        return adapted_model(folder, config.adapted, device=device)
    except CheckpointError as error:
        log.warning("%s; the network is adapted again", error)
    network = _network(config.origin, config.source, job, device)
    for _ in fixres(config.adapted, network, splits_for(job, config.source.data), device=device):
        pass
    return network


def _network(origin: Origin, config: TrainConfig, job: Job, device: torch.device) -> nn.Module:
    """The network as it was trained, to do with as one likes."""
    from trainer.portable.files import read_model
    from trainer.precision import memory_format

    run = RunDir(job.workspace.run_root)
    folder = model_folder(run, job.spec.stage, origin)
    network = read_model(folder).network(device=device)
    return network.to(memory_format=memory_format(config.execution))
