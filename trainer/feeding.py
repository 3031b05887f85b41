"""What the steps of a run are fed: images varied and mixed, and a teacher's word on them."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from trainer.config import TrainConfig
from trainer.data.batches import Batch, training_batches
from trainer.data.mixing import mixed_batches
from trainer.data.splits import Subset
from trainer.distillation import KeptAnswers, Teacher, may_be_kept, taught


class Feed:
    """The batches of each epoch, the same whatever was drawn before.

    Args:
        config: What is trained, and how.
        subset: What on.
        device: Where.
        teacher: Where there is one; `prepare` has to be gone through before the first batch then.
    """

    def __init__(
        self,
        config: TrainConfig,
        subset: Subset,
        *,
        device: torch.device,
        teacher: Teacher | None = None,
    ) -> None:
        self._config = config
        self._augment = config.augment.over(config.epochs)
        self._subset = subset
        self._device = device
        self._teacher = teacher
        self._kept: KeptAnswers | None = None
        if teacher is not None and may_be_kept(config, num_images=len(subset)):
            self._kept = KeptAnswers(config, subset, teacher)

    @property
    def is_prepared(self) -> bool:
        """Whether there is nothing to prepare."""
        return self._kept is None

    def prepare(self) -> Iterator[int]:
        """Ask the teacher what can be asked in advance; yields the images it has looked at."""
        if self._kept is not None:
            yield from self._kept.ask(self._device)

    def batches(self, epoch: int) -> Iterator[Batch]:
        """One pass over the training images."""
        batches = self._varied(epoch)
        config, mix = self._config, self._config.mix
        if mix is not None:
            batches = mixed_batches(
                batches,
                self._varied(epoch, also="partner ") if mix.draw == "sample" else None,
                mix,
                num_classes=config.model.num_classes,
                seed=config.seed,
                epoch=epoch,
            )
        if self._kept is not None:
            return map(self._kept.to, batches)
        if self._teacher is not None:
            return self._taught(batches, self._teacher)
        return batches

    def _varied(self, epoch: int, *, also: str = "") -> Iterator[Batch]:
        config = self._config
        return training_batches(
            self._subset,
            augment=self._augment,
            resolution=config.model.resolution,
            batch_size=config.batch_size,
            epoch=epoch,
            seed=config.seed,
            device=self._device,
            channels_last=config.execution.channels_last,
            also=also,
        )

    def _taught(self, batches: Iterator[Batch], teacher: Teacher) -> Iterator[Batch]:
        # in parts, so that the memory which suffices for the student does for the teacher
        return (taught(batch, teacher, parts=self._config.accumulate) for batch in batches)
