"""Training with a teacher as a trial: its tensors lie in the run directory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from orchestrator.objectives.training import (
    device_of,
    initial_weights,
    keep_model,
    splits_for,
)
from orchestrator.run_dir import RunDir
from orchestrator.runners.base import Job
from orchestrator.trial import Report, plain_report
from trainer.config import TrainConfig

OBJECTIVE = "distil-model"


def distil_model(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Train, and leave the model where others can use it before the last report is given."""
    from trainer.checkpoint import Checkpointing
    from trainer.fit import Beat, fit
    from trainer.transfer import read_weights

    config, workspace = job.spec.config, job.workspace
    assert isinstance(config, TrainConfig)
    assert config.distillation is not None
    run, digest = RunDir(workspace.run_root), config.distillation.digest
    checkpointing = Checkpointing(
        directory=run.trial(job.spec.stage, job.spec.key),
        every_seconds=workspace.checkpoint_seconds,
        attempt=job.attempt,
        keep=workspace.keep_checkpoints,
        damaged="set-aside",
    )
    for item in fit(
        config,
        splits_for(job, config.data),
        device=device_of(job),
        checkpoint=checkpointing,
        initial=initial_weights(job, config),
        teacher=read_weights(run.weights(digest), digest=digest),
        known_epochs=job.known_epochs,
        stop_after=job.until,
        should_stop=should_stop,
    ):
        values = item.to_json()
        if isinstance(item, Beat):
            values = {"training": values.pop("epoch"), **values}
        report = plain_report(values)
        if report.get("epoch") == config.epochs:
            keep_model(job, config, report)
        yield report
