"""What carrying a stage out is, whatever it searches: room, session, workers, result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.config.common import CommonConfig
from orchestrator.estimates import check_disk
from orchestrator.places import runner_factory
from orchestrator.reporting.live import Watcher
from orchestrator.run_dir import RunDir
from orchestrator.runners.base import Workspace
from orchestrator.session import cache_limit, cache_root, check_run_dir, open_session, run_stage
from orchestrator.stages.base import Stage
from orchestrator.trial import Bundle
from trainer.complexity import count
from trainer.config import TrainConfig
from trainer.data.splits import Splits


def carry_out(
    stage: Stage,
    config: CommonConfig,
    *,
    run_dir: RunDir,
    bundle: Bundle,
    watcher: Watcher,
    begin: Callable[[], None] = lambda: None,
    keep: Callable[[dict[str, Any]], None] = lambda document: None,
) -> dict[str, Any]:
    """Bring the stage to its end in `run_dir`, begun or continued there.

    `begin` is called once the directory is ours, to put there what trials need; `keep` as in
    `run_stage`.

    Raises: UsageError, NotReady, StageFailed, Interrupted.
    """
    check_disk(run_dir.root, stage.cost["disk_bytes"])
    workspace = Workspace(
        run_root=run_dir.root,
        cache_root=cache_root(config),
        cache_limit=cache_limit(config),
        keep_checkpoints=config.keep_checkpoints,
        skip_unreadable=config.skip_unreadable,
    )
    with open_session(run_dir, command=stage.name, config=config) as session:
        for line in (f"run directory: {config.run_dir or run_dir.root}", *session.notes):
            watcher.say(line)
        begin()
        return run_stage(
            session,
            stage,
            config=config,
            workspace=workspace,
            runner=runner_factory(config, bundle),
            watcher=watcher,
            keep=keep,
        )


def check_place(config: CommonConfig, command: str) -> None:
    """Refuse a run directory that a plan, if it were carried out, could not use."""
    if config.run_dir is not None:
        check_run_dir(RunDir(Path(config.run_dir)), command)


def seconds_per_mac(config: TrainConfig, splits: Splits, *, bundle: Bundle) -> float:
    """An epoch's time over the network's MACs for one image, from a few seconds of training."""
    from trainer.probe import training_speed  # loads torch, for dry runs alone

    speed = training_speed(config, device="cuda" if bundle.gpus else "cpu")
    images = len(splits.train) + len(splits.selection) / 3  # a forward pass is a third of a step
    return images / speed / count(config.model).macs
