"""When an adaptation is saved, and the model that a finished one has left."""

from __future__ import annotations

import logging
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import torch
from torch import nn

from trainer.checkpoint import (
    Checkpointing,
    RunCheckpoint,
    load_run,
    remove_leftovers,
    save_run,
)
from trainer.config import EpochReport
from trainer.errors import CheckpointError
from trainer.fixres.config import FixResConfig
from trainer.fixres.parametric import with_pooled_map
from trainer.fixres.tuning import Tuning
from trainer.models.build import build
from trainer.precision import memory_format

log = logging.getLogger(__name__)

History = tuple[EpochReport, ...]


class Saver(Protocol):
    """Takes a run's state between reports."""

    def restore(self, model: nn.Module) -> History:
        """The reports up to the last saved state; of a finished run, the model is set to it.

        Raises: CheckpointError when there is a checkpoint that this run cannot go on from.
        """

    def resume(self, tuning: Tuning) -> None:
        """Set what is tuned to the state that `restore` has found."""

    def after_report(self, model: nn.Module, tuning: Tuning | None, history: History) -> None:
        """Save what is due. Raises: DiskFull, CheckpointError when it cannot be written."""


class Unsaved:
    """Saves nothing."""

    def restore(self, model: nn.Module) -> History:
        """Nothing to go on from."""
        return ()

    def resume(self, tuning: Tuning) -> None:
        """Never asked for: there were no reports."""

    def after_report(self, model: nn.Module, tuning: Tuning | None, history: History) -> None:
        """Nothing to do."""


class DirectorySaver:
    """Saves `last.pt`, as often as `Checkpointing` says, and always at the end.

    On the way that is what is tuned and the optimizer, which are small; at the end the whole model.
    """

    def __init__(self, files: Checkpointing, *, config: FixResConfig) -> None:
        self._files = files
        self._config = config
        self._saved_at = monotonic()
        self._state: dict[str, Any] = {}

    def restore(self, model: nn.Module) -> History:
        """Go on from `last.pt`, if there is one."""
        remove_leftovers(self._files)
        saved = self._found()
        if saved is None:
            return ()
        self._state = dict(saved.state)
        if len(saved.history) == self._config.num_reports:
            model.load_state_dict(self._state["model"])
        return saved.history

    def resume(self, tuning: Tuning) -> None:
        """Set what is tuned to the state that `restore` has found."""
        tuning.load_state_dict(self._state["tuning"])

    def after_report(self, model: nn.Module, tuning: Tuning | None, history: History) -> None:
        """Save if it is time, or the last report was given."""
        ended = len(history) == self._config.num_reports
        if not ended and monotonic() - self._saved_at < self._files.every_seconds:
            return
        on_the_way = None if tuning is None else tuning.state_dict()
        save_run(
            self._files.last,
            {"model": model.state_dict()} if ended else {"tuning": on_the_way},
            config=self._config,
            history=history,
            attempt=self._files.attempt,
        )
        self._saved_at = monotonic()

    def _found(self) -> RunCheckpoint | None:
        if not self._files.last.exists():
            return None
        try:
            return load_run(self._files.last, config=self._config)
        except CheckpointError as error:
            if self._files.damaged == "refuse":
                raise
            self._files.last.replace(self._files.set_aside)
            log.warning("%s; renamed %s, begun anew", error, self._files.set_aside.name)
            return None


def adapted_model(
    folder: Path, config: FixResConfig, *, device: torch.device | str = "cpu"
) -> nn.Module:
    """The model of the finished adaptation saved in the folder.

    Raises: CheckpointError when the run is not there, is another one or has not ended.
    """
    path = Checkpointing(directory=folder).last
    saved = load_run(path, config=config)
    if len(saved.history) < config.num_reports:
        raise CheckpointError(
            f"{path}: {len(saved.history)} of {config.num_reports} reports, not adapted to its end"
        )
    with torch.random.fork_rng(devices=[]):
        model = build(config.source.model)
    if config.adaptation == "parametric":
        with_pooled_map(model)
    model.load_state_dict(saved.state["model"])
    return model.to(device).to(memory_format=memory_format(config.source.execution)).eval()
