"""One configuration -> one report per epoch."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from math import isfinite
from typing import TypeVar

import torch

from trainer.checkpoint import Checkpointing
from trainer.config import EpochReport, ResNetConfig, TrainConfig, require
from trainer.data.batches import evaluation_batches, steps_per_epoch
from trainer.data.splits import Splits
from trainer.distillation import Teacher
from trainer.errors import TrainingDiverged
from trainer.evaluate import Scores, Tally, evaluating, predict
from trainer.feeding import Feed
from trainer.losses import EpochLosses
from trainer.models.resnet_parts.drop_block import set_drop_progress
from trainer.optim import peak_lr
from trainer.pulse import Beat as Beat
from trainer.pulse import Pulse
from trainer.saving import DirectorySaver, Saver, Unsaved
from trainer.schedule import lr_at, progress_at
from trainer.seeding import isolated, seed_everything
from trainer.state import TrainingState
from trainer.transfer import Weights

T = TypeVar("T")


def fit(
    config: TrainConfig,
    splits: Splits,
    *,
    device: torch.device | str = "cpu",
    checkpoint: Checkpointing | None = None,
    initial: Weights | None = None,
    teacher: Weights | None = None,
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
    generator ends, and the last saved epoch stands. `initial` and `teacher` hold the tensors that
    `config.initial` and `config.distillation` name.

    Raises: ConfigError for weights that are missing or do not fit, TrainingDiverged,
        CheckpointError, DatasetError, DiskFull.
    """
    device = torch.device(device)
    last = config.epochs if stop_after is None else min(stop_after, config.epochs)
    saver = Unsaved() if checkpoint is None else DirectorySaver(checkpoint, config=config)
    require(
        config.initial is None or initial is not None,
        "initial: the weights that training begins from were not given",
    )
    require(
        config.distillation is None or teacher is not None,
        "distillation: the teacher's weights were not given",
    )
    run = _Run(
        config,
        splits,
        device=device,
        initial=initial,
        teacher=teacher,
        pulse=Pulse(beat_seconds),
        should_stop=should_stop,
    )
    reports = run.reports(saver, known=known_epochs, last=last)
    return isolated(reports, threads=config.execution.threads, device=device)


class _Stopped(Exception):
    """The caller wants no more."""


class _Run:
    """What stays the same from the first epoch to the last."""

    def __init__(
        self,
        config: TrainConfig,
        splits: Splits,
        *,
        device: torch.device,
        initial: Weights | None,
        teacher: Weights | None,
        pulse: Pulse,
        should_stop: Callable[[], bool],
    ) -> None:
        self._config = config
        self._initial = initial
        self._teacher = teacher
        self._train_split = splits.train
        on_selection = config.data.evaluate_on == "selection"
        self._held_out = splits.selection if on_selection else splits.reporting
        self._device = device
        self._pulse = pulse
        self._should_stop = should_stop
        self._steps = steps_per_epoch(len(splits.train), config.batch_size)
        model = config.model
        self._drops_blocks = isinstance(model, ResNetConfig) and model.drop_block is not None

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
        if len(history) >= last:
            return
        feed = yield from self._feed(epoch=len(history) + 1)
        for epoch in range(len(history) + 1, last + 1):
            report = yield from self._epoch(state, feed, epoch)
            history = (*history, report)
            saver.after_epoch(state, history, pausing=epoch == last)
            if epoch > known:  # the caller may know more than the checkpoint
                yield report

    def _feed(self, *, epoch: int) -> Generator[Beat, None, Feed]:
        """What the epochs from this one on are fed from, ready for it."""
        config = self._config
        teacher = None
        if config.distillation is not None:
            teacher = Teacher(
                config.distillation,
                self._teacher,
                execution=config.execution,
                device=self._device,
                seen=self._train_split.statistics,
            )
        feed = Feed(config, self._train_split, device=self._device, teacher=teacher)
        if feed.is_prepared:
            return feed
        started = self._pulse.now()
        for images in self._until_stopped(feed.prepare()):
            speed = images / (self._pulse.now() - started)
            yield from self._pulse.beats(epoch, 0, self._steps, speed)
        return feed

    def _epoch(
        self, state: TrainingState, feed: Feed, epoch: int
    ) -> Generator[Beat, None, EpochReport]:
        seed_everything(self._config.seed, epoch=epoch)
        started = self._pulse.now()
        train_loss, speed = yield from self._train(state, feed, epoch)
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
        self, state: TrainingState, feed: Feed, epoch: int
    ) -> Generator[Beat, None, tuple[float, float]]:
        """One pass over the training images; returns the mean loss and the images per second."""
        losses = EpochLosses(epoch=epoch, device=self._device)
        state.train()
        started = self._pulse.now()
        for step, batch in enumerate(self._until_stopped(feed.batches(epoch))):
            if self._drops_blocks:
                set_drop_progress(state.model, self._progress(epoch, step))
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
            resolution=config.evaluated_at,
            batch_size=config.batch_size // config.accumulate,
            device=self._device,
            channels_last=config.execution.channels_last,
            crop_fraction=config.test_crop_fraction,
        )
        with evaluating(state.evaluated):
            for batch in self._until_stopped(batches):
                logits = predict(state.evaluated, batch.images, execution=config.execution)
                tally.add(logits, batch.labels)
                yield from self._pulse.beats(epoch, self._steps, self._steps, speed)
        return tally.scores()

    def _until_stopped(self, items: Iterator[T]) -> Iterator[T]:
        while not self._should_stop():
            try:
                item = next(items)
            except StopIteration:
                return
            yield item
        raise _Stopped

    def _progress(self, epoch: int, step: int) -> float:
        done = (epoch - 1) * self._steps + step
        return progress_at(done, steps_per_epoch=self._steps, epochs=self._config.epochs)

    def _lr(self, epoch: int, step: int) -> float:
        config = self._config
        return lr_at(
            config.schedule,
            peak=peak_lr(config.optim, batch_size=config.batch_size),
            step=(epoch - 1) * self._steps + step,
            steps_per_epoch=self._steps,
            epochs=config.epochs,
        )
