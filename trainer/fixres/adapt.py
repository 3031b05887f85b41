"""One configuration and a trained model -> reports, and the model at its new resolution."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from math import isfinite
from typing import TypeVar

import torch
from torch import Tensor, nn

from trainer.checkpoint import Checkpointing
from trainer.config import EpochReport
from trainer.data.batches import Batch, evaluation_batches, steps_per_epoch
from trainer.data.splits import Splits, Subset
from trainer.errors import TrainingDiverged
from trainer.evaluate import Scores, Tally, predict
from trainer.fixres.anatomy import dissect, tuned_part
from trainer.fixres.config import FixResConfig
from trainer.fixres.estimation import ENOUGH_IMAGES, estimate_statistics, fit_map
from trainer.fixres.features import Storage
from trainer.fixres.material import Material, choose_material
from trainer.fixres.parametric import with_pooled_map
from trainer.fixres.saving import DirectorySaver, History, Saver, Unsaved
from trainer.fixres.tuning import Tuning, frozen_but
from trainer.losses import EpochLosses
from trainer.pulse import Beat, Pulse
from trainer.seeding import isolated

T = TypeVar("T")

_PLAIN = Storage()

Reports = Generator[EpochReport | Beat, None, None]


def fixres(
    config: FixResConfig,
    model: nn.Module,
    splits: Splits,
    *,
    device: torch.device | str = "cpu",
    checkpoint: Checkpointing | None = None,
    known_reports: int = 0,
    storage: Storage = _PLAIN,
    should_stop: Callable[[], bool] = lambda: False,
    beat_seconds: float = 5.0,
) -> Reports:
    """Adapt a trained model to a test resolution, in place, and yield its scores there.

    The first report, of epoch 0, is of the model as it came; the last of the model as it is left.
    In between there is one per epoch of fine-tuning, whose scores come from the kept features where
    there are any, and may differ in the last digits from what the whole model would say. Beats come
    at least every `beat_seconds` of batches.

    With a checkpoint the run goes on where it was saved: first come the reports beyond
    `known_reports` that were there before, then new ones, equal in every digit to an uninterrupted
    run's. `should_stop` is asked before each batch; when it answers true the generator ends.

    Args:
        config: What to do.
        model: On the device; what `config.source` has trained, as it was evaluated there. Half
            adapted if the generator is dropped.
        splits: Of the source. Nothing but its training images is adapted to.
        device: Where to compute.
        checkpoint: Where to save; `keep` of it is not heeded, `last.pt` alone is written.
        known_reports: How many reports the caller has already.
        storage: Where features are kept meanwhile.
        should_stop: Whether to stop.
        beat_seconds: See above.

    Raises: ConfigError, TrainingDiverged, CheckpointError, DiskFull.
    """
    device = torch.device(device)
    saver = Unsaved() if checkpoint is None else DirectorySaver(checkpoint, config=config)
    run = _Run(
        config,
        model,
        splits,
        device=device,
        storage=storage,
        pulse=Pulse(beat_seconds),
        should_stop=should_stop,
    )
    reports = run.reports(saver, known=known_reports)
    return isolated(reports, threads=config.source.execution.threads, device=device)


class _Stopped(Exception):
    """The caller wants no more."""


class _Run:
    """What stays the same from the first report to the last."""

    def __init__(
        self,
        config: FixResConfig,
        model: nn.Module,
        splits: Splits,
        *,
        device: torch.device,
        storage: Storage,
        pulse: Pulse,
        should_stop: Callable[[], bool],
    ) -> None:
        self._config = config
        self._execution = config.source.execution
        self._model = model
        self._train_split = splits.train
        on_selection = config.evaluate_on == "selection"
        self._held_out = splits.selection if on_selection else splits.reporting
        self._device = device
        self._storage = storage
        self._pulse = pulse
        self._should_stop = should_stop
        self._steps = steps_per_epoch(len(splits.train), config.batch_size)
        self._map = with_pooled_map(model) if config.adaptation == "parametric" else None

    def reports(self, saver: Saver, *, known: int) -> Reports:
        """Those after the first `known` ones, and beats between them."""
        history = saver.restore(self._model)
        yield from history[known:]
        if len(history) == self._config.num_reports:
            return
        tuned = tuned_part(dissect(self._model), self._config)
        with frozen_but(self._model, tuned.parameters):
            try:
                yield from self._go_on(saver, history, known=known)
            except _Stopped:
                return

    def _go_on(self, saver: Saver, history: History, *, known: int) -> Reports:
        tuning, material = None, None
        if self._config.adaptation == "finetune":
            tuning = Tuning(self._model, self._config, device=self._device)
            if history:
                saver.resume(tuning)
        for epoch in range(len(history), self._config.num_reports):
            started = self._pulse.now()
            if tuning is not None and material is None and epoch > 0:
                material = yield from self._prepared(epoch)
            report = yield from self._report(epoch, tuning, material, started)
            history = (*history, report)
            saver.after_report(self._model, tuning, history)
            if len(history) > known:  # the caller may know more than the checkpoint
                yield report

    def _report(
        self, epoch: int, tuning: Tuning | None, material: Material | None, started: float
    ) -> Generator[Beat, None, EpochReport]:
        loss, speed, lr = 0.0, 0.0, 0.0
        if tuning is not None and material is not None:
            loss, speed = yield from self._tune(tuning, material, epoch)
            lr = tuning.lr(epoch, self._steps - 1, steps_per_epoch=self._steps)
        elif epoch > 0:
            yield from self._working(self._estimate(), epoch)
        last = epoch == self._config.num_reports - 1
        if material is None or tuning is None or last:
            scores = yield from self._evaluate(self._whole(), self._asked, epoch, speed)
        else:
            scores = yield from self._evaluate(material.held_out(), tuning.predict, epoch, speed)
        if not isfinite(scores.loss):
            raise TrainingDiverged(epoch=epoch, step=self._steps, loss=scores.loss)
        return EpochReport(
            epoch=epoch,
            train_loss=loss,
            top1=scores.top1,
            top5=scores.top5,
            loss=scores.loss,
            lr=lr,
            seconds=self._pulse.now() - started,
            images_per_second=speed,
            num_images=scores.count,
            recall=scores.recall if last else (),
            correct=scores.packed() if last or epoch == 0 else "",
        )

    def _prepared(self, epoch: int) -> Generator[Beat, None, Material]:
        """What the epochs of fine-tuning are fed with."""
        material = choose_material(
            self._model,
            self._config,
            train=self._train_split,
            held_out=self._held_out,
            storage=self._storage,
            device=self._device,
        )
        yield from self._working(material.prepare(), epoch)
        return material

    def _tune(
        self, tuning: Tuning, material: Material, epoch: int
    ) -> Generator[Beat, None, tuple[float, float]]:
        """One pass over the training images; returns the mean loss and the images per second."""
        losses = EpochLosses(epoch=epoch, device=self._device)
        started = self._pulse.now()
        for step, batch in enumerate(self._until_stopped(material.epoch(epoch))):
            lr = tuning.lr(epoch, step, steps_per_epoch=self._steps)
            losses.add(tuning.step(batch, lr=lr), images=len(batch.labels))
            speed = losses.images / (self._pulse.now() - started)
            yield from self._pulse.beats(epoch, step + 1, self._steps, speed)
        mean = losses.mean()  # waits for the device, so that the time below is the whole time
        return mean, losses.images / (self._pulse.now() - started)

    def _estimate(self) -> Iterator[int]:
        """Fit what is fitted without labels; yields the number of images after each batch."""
        test = self._config.test_resolution
        if self._map is not None:
            return fit_map(
                self._model,
                self._map,
                self._training_images,
                train_resolution=self._config.source.model.resolution,
                test_resolution=test,
                execution=self._execution,
            )
        batches = self._training_images(test)
        return estimate_statistics(self._model, batches, execution=self._execution)

    def _working(self, progress: Iterator[int], epoch: int) -> Iterator[Beat]:
        """Beats while so many images are looked at before the first step."""
        started = self._pulse.now()
        for images in self._until_stopped(progress):
            speed = images / (self._pulse.now() - started)
            yield from self._pulse.beats(epoch, 0, self._steps, speed)

    def _evaluate(
        self,
        batches: Iterator[Batch],
        logits_of: Callable[[Batch], Tensor],
        epoch: int,
        speed: float,
    ) -> Generator[Beat, None, Scores]:
        tally = Tally(self._config.source.model.num_classes)
        for batch in self._until_stopped(batches):
            tally.add(logits_of(batch), batch.labels)
            yield from self._pulse.beats(epoch, self._steps, self._steps, speed)
        return tally.scores()

    def _asked(self, batch: Batch) -> Tensor:
        return predict(self._model, batch.images, execution=self._execution)

    def _whole(self) -> Iterator[Batch]:
        return self._test_images(self._held_out, self._config.test_resolution)

    def _training_images(self, resolution: int) -> Iterator[Batch]:
        """Some of them, spread over the training split, seen as test images are."""
        every = -(-len(self._train_split) // ENOUGH_IMAGES)
        some = replace(self._train_split, indices=self._train_split.indices[::every])
        return self._test_images(some, resolution)

    def _test_images(self, subset: Subset, resolution: int) -> Iterator[Batch]:
        return evaluation_batches(
            subset,
            resolution=resolution,
            batch_size=self._config.batch_size,
            device=self._device,
            channels_last=self._execution.channels_last,
            crop_fraction=self._config.crop_fraction,
        )

    def _until_stopped(self, items: Iterator[T]) -> Iterator[T]:
        while not self._should_stop():
            try:
                item = next(items)
            except StopIteration:
                return
            yield item
        raise _Stopped
