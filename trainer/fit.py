"""One configuration -> one report per epoch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from math import isfinite
from time import monotonic

import torch

from trainer.checkpoint import Checkpointing
from trainer.config import EpochReport, Strict, TrainConfig, require
from trainer.data.batches import (
    Batch,
    evaluation_batches,
    steps_per_epoch,
    training_batches,
)
from trainer.data.splits import Splits
from trainer.errors import TrainingDiverged
from trainer.evaluate import Scores, Tally, evaluating, predict
from trainer.losses import EpochLosses
from trainer.optim import scaled_lr
from trainer.saving import DirectorySaver, Saver, Unsaved
from trainer.schedule import lr_at
from trainer.seeding import isolated, seed_everything
from trainer.state import TrainingState
from trainer.transfer import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat(Strict):
    """A sign of life from within an epoch."""

    epoch: int
    """The epoch under way, from 1."""
    step: int
    """Optimizer steps taken in it; all of them while it is being evaluated."""
    steps: int
    """Optimizer steps in an epoch."""
    images_per_second: float
    """Training throughput in this epoch so far."""


def fit(
    config: TrainConfig,
    splits: Splits,
    *,
    device: torch.device | str = "cpu",
    checkpoint: Checkpointing | None = None,
    initial: Weights | None = None,
    known_epochs: int = 0,
    stop_after: int | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    beat_seconds: float = 5.0,
) -> Generator[EpochReport | Beat, None, None]:
    """Train, and yield a report per epoch and a beat at least every `beat_seconds` of batches.

    With a checkpoint the run goes on where it was saved: first come the reports of epochs beyond
    `known_epochs` that were finished before, then those of new ones, equal in every digit to an
    uninterrupted run's. `stop_after` pauses the run after so many epochs, saved; its schedule still
    ends at `config.epochs`. `should_stop` is asked before each batch; when it answers true the
    generator ends, and the last saved epoch stands. `initial` holds the tensors that
    `config.initial` names.

    Raises: ConfigError for initial weights that are missing or do not fit, TrainingDiverged,
        CheckpointError, DatasetError, DiskFull.
    """
    device = torch.device(device)
    last = config.epochs if stop_after is None else min(stop_after, config.epochs)
    saver = Unsaved() if checkpoint is None else DirectorySaver(checkpoint, config=config)
    require(
        config.initial is None or initial is not None,
        "initial: the weights that training begins from were not given",
    )
    run = _Run(
        config,
        splits,
        device=device,
        initial=initial,
        pulse=Pulse(beat_seconds),
        should_stop=should_stop,
    )
    reports = run.reports(saver, known=known_epochs, last=last)
    return isolated(reports, threads=config.execution.threads, device=device)


class _Stopped(Exception):
    """The caller wants no more."""


class Pulse:
    """Knows when a sign of life is due; its clock stands still while the caller looks at one."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = monotonic()
        self._away = 0.0

    def now(self) -> float:
        """Seconds of our own work since some moment."""
        return monotonic() - self._away

    def beats(self, epoch: int, step: int, steps: int, speed: float) -> Iterator[Beat]:
        """Yield one beat if it is time, else none."""
        left = monotonic()
        if left - self._last < self._seconds:
            return
        yield Beat(epoch=epoch, step=step, steps=steps, images_per_second=speed)
        self._last = monotonic()
        self._away += self._last - left


class _Run:
    """What stays the same from the first epoch to the last."""

    def __init__(
        self,
        config: TrainConfig,
        splits: Splits,
        *,
        device: torch.device,
        initial: Weights | None,
        pulse: Pulse,
        should_stop: Callable[[], bool],
    ) -> None:
        self._config = config
        self._initial = initial
        self._augment = config.augment.over(config.epochs)
        self._train_split = splits.train
        on_selection = config.data.evaluate_on == "selection"
        self._held_out = splits.selection if on_selection else splits.reporting
        self._device = device
        self._pulse = pulse
        self._should_stop = should_stop
        self._steps = steps_per_epoch(len(splits.train), config.batch_size)

    def reports(
        self, saver: Saver, *, known: int, last: int
    ) -> Generator[EpochReport | Beat, None, None]:
        """The reports of epochs known + 1 … last, and beats between them."""
        if known < last:
            try:
                yield from self._go_on(saver, known=known, last=last)
            except _Stopped:
                return
        if last == self._config.epochs:
            saver.finish()

    def _go_on(
        self, saver: Saver, *, known: int, last: int
    ) -> Generator[EpochReport | Beat, None, None]:
        state = TrainingState(self._config, device=self._device, initial=self._initial)
        history = saver.restore(state)
        yield from history[known:last]
        for epoch in range(len(history) + 1, last + 1):
            report = yield from self._epoch(state, epoch)
            history = (*history, report)
            saver.after_epoch(state, history, pausing=epoch == last)
            if epoch > known:  # the caller may know more than the checkpoint
                yield report

    def _epoch(self, state: TrainingState, epoch: int) -> Generator[Beat, None, EpochReport]:
        seed_everything(self._config.seed, epoch=epoch)
        started = self._pulse.now()
        train_loss, speed = yield from self._train(state, epoch)
        scores = yield from self._evaluate(state, epoch, speed)
        if not isfinite(scores.loss):
            raise TrainingDiverged(epoch=epoch, step=self._steps, loss=scores.loss)
        last = epoch == self._config.epochs
        return EpochReport(
            epoch=epoch,
            train_loss=train_loss,
            top1=scores.top1,
            top5=scores.top5,
            loss=scores.loss,
            lr=self._lr(epoch, self._steps - 1),
            seconds=self._pulse.now() - started,
            images_per_second=speed,
            num_images=scores.count,
            recall=scores.recall if last else (),
            correct=scores.packed() if last else "",
        )

    def _train(
        self, state: TrainingState, epoch: int
    ) -> Generator[Beat, None, tuple[float, float]]:
        """One pass over the training images; returns the mean loss and the images per second."""
        config = self._config
        losses = EpochLosses(epoch=epoch, device=self._device)
        state.train()
        started = self._pulse.now()
        batches = training_batches(
            self._train_split,
            augment=self._augment,
            resolution=config.model.resolution,
            batch_size=config.batch_size,
            epoch=epoch,
            seed=config.seed,
            device=self._device,
            channels_last=config.execution.channels_last,
        )
        for step, batch in enumerate(self._until_stopped(batches)):
            losses.add(state.step(batch, lr=self._lr(epoch, step)), images=len(batch.images))
            speed = losses.images / (self._pulse.now() - started)
            yield from self._pulse.beats(epoch, step + 1, self._steps, speed)
        mean = losses.mean()  # waits for the device, so that the time below is the whole time
        return mean, losses.images / (self._pulse.now() - started)

    def _evaluate(
        self, state: TrainingState, epoch: int, speed: float
    ) -> Generator[Beat, None, Scores]:
        config = self._config
        tally = Tally(config.model.num_classes)
        batches = evaluation_batches(
            self._held_out,
            resolution=config.model.resolution,
            batch_size=config.batch_size // config.accumulate,
            device=self._device,
            channels_last=config.execution.channels_last,
        )
        with evaluating(state.evaluated):
            for batch in self._until_stopped(batches):
                logits = predict(state.evaluated, batch.images, execution=config.execution)
                tally.add(logits, batch.labels)
                yield from self._pulse.beats(epoch, self._steps, self._steps, speed)
        return tally.scores()

    def _until_stopped(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        while not self._should_stop():
            batch = next(batches, None)
            if batch is None:
                return
            yield batch
        raise _Stopped

    def _lr(self, epoch: int, step: int) -> float:
        config = self._config
        return lr_at(
            config.schedule,
            peak=scaled_lr(config.optim.lr, batch_size=config.batch_size),
            step=(epoch - 1) * self._steps + step,
            steps_per_epoch=self._steps,
            epochs=config.epochs,
        )
