"""When a run is saved, and what is kept of it."""

from __future__ import annotations

import logging
from pathlib import Path
from time import monotonic
from typing import Protocol

from torch import Tensor

from trainer.checkpoint import (
    Checkpointing,
    load_parent,
    load_run,
    remove_leftovers,
    save_model,
    save_run,
)
from trainer.config import EpochReport, TrainConfig
from trainer.errors import CheckpointError
from trainer.state import TrainingState

log = logging.getLogger(__name__)

History = tuple[EpochReport, ...]


class Saver(Protocol):
    """Takes a run's state between epochs."""

    def restore(self, state: TrainingState) -> History:
        """Set the state to the last saved one; the reports up to it, none if nothing was saved.

        Raises: CheckpointError when there is a checkpoint that this run cannot go on from.
        """

    def after_epoch(self, state: TrainingState, history: History, *, pausing: bool) -> None:
        """Save what is due after the last epoch of the history; everything if the run pauses here.

        Raises: DiskFull, CheckpointError when it cannot be written; the previous checkpoint then
            stands.
        """

    def finish(self) -> None:
        """Tidy up once every epoch is done and the last report was taken."""


class Unsaved:
    """Saves nothing."""

    def restore(self, state: TrainingState) -> History:
        """Nothing to go on from."""
        return ()

    def after_epoch(self, state: TrainingState, history: History, *, pausing: bool) -> None:
        """Nothing to do."""

    def finish(self) -> None:
        """Nothing to do."""


class DirectorySaver:
    """Saves to a directory, as often and as much as `Checkpointing` says."""

    def __init__(self, files: Checkpointing, *, config: TrainConfig) -> None:
        self._files = files
        self._config = config
        self._saved_at = monotonic()
        self._best: tuple[dict[str, Tensor], EpochReport] | None = None

    def restore(self, state: TrainingState) -> History:
        """Go on from `last.pt`, if there is one, else from that of the parent."""
        remove_leftovers(self._files)
        if not self._files.last.exists():
            return self._inherit(state)
        try:
            saved = load_run(self._files.last, config=self._config)
        except CheckpointError as error:
            if self._files.damaged == "refuse":
                raise
            self._files.last.replace(self._files.set_aside)
            log.warning("%s; renamed %s, begun anew", error, self._files.set_aside.name)
            return self._inherit(state)
        if not self._is_whole(saved.history):
            state.load_state_dict(saved.state)
        return saved.history

    def _inherit(self, state: TrainingState) -> History:
        if self._files.parent is None:
            return ()
        try:
            saved = load_parent(self._files.parent, config=self._config)
        except CheckpointError as error:
            log.warning("%s; begun at the first epoch", error)
            return ()
        state.load_state_dict(saved.state)
        return saved.history

    def after_epoch(self, state: TrainingState, history: History, *, pausing: bool) -> None:
        """Note the weights if they are the best so far; write the files if it is time."""
        *earlier, report = history
        if self._files.keep == "all":
            self._save_weights(
                self._files.of_epoch(report.epoch), state.evaluated_weights(), report
            )
        if self._files.keep != "none" and all(report.top1 > other.top1 for other in earlier):
            self._best = state.evaluated_weights(), report
        if pausing or monotonic() - self._saved_at >= self._files.every_seconds:
            self._save(state, history)

    def finish(self) -> None:
        """Remove what only a resumption would have needed, if nothing is to be kept."""
        if self._files.keep == "none":
            self._files.last.unlink(missing_ok=True)

    def _save(self, state: TrainingState, history: History) -> None:
        # best.pt first: dying in between leaves in it an epoch that the resumed run trains again,
        # with the same outcome; the other way round the best weights could be lost
        if self._best is not None:
            weights, report = self._best
            self._save_weights(self._files.best, weights, report)
            self._best = None
        save_run(
            self._files.last,
            state.outcome() if self._is_whole(history) else state.state_dict(),
            config=self._config,
            history=history,
            attempt=self._files.attempt,
        )
        self._saved_at = monotonic()

    def _is_whole(self, history: History) -> bool:
        return len(history) == self._config.epochs

    def _save_weights(self, path: Path, weights: dict[str, Tensor], report: EpochReport) -> None:
        save_model(path, weights, config=self._config, report=report, attempt=self._files.attempt)
