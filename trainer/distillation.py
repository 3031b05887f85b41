"""A teacher, and what it says of the images that the student sees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from trainer.config import DistillationConfig, ExecutionConfig, TrainConfig
from trainer.data.batches import Batch, viewed_batches
from trainer.data.splits import ChannelStatistics, Subset
from trainer.data.views import Views, training_views
from trainer.errors import ConfigError
from trainer.models.build import build
from trainer.precision import autocast, memory_format
from trainer.transfer import Weights, require_fit

MOST_KEPT = 1 << 30
"""Bytes of answers that are kept on the training device: 134 million numbers."""


class Teacher:
    """A network that never changes.

    Args:
        config: What it is.
        weights: Its tensors, which are copied; None leaves it as chance has it, for estimates.
        execution: How it computes: as the student does.
        seen: What the images that it will be shown are normalised by; if it was trained on others,
            it sees them as those were. None, or a teacher that does not say: as they are.
        device: Where.

    Raises: ConfigError for weights that do not fit.
    """

    def __init__(
        self,
        config: DistillationConfig,
        weights: Weights | None,
        *,
        execution: ExecutionConfig,
        device: torch.device,
        seen: ChannelStatistics | None = None,
    ) -> None:
        with torch.random.fork_rng(devices=[]):  # a student draws the same with and without it
            network = build(config.model)
        if weights is not None:
            _load(network, weights)
        network = network.requires_grad_(False).eval().to(device)
        self.network: nn.Module = network.to(memory_format=memory_format(execution))
        self._side = config.model.resolution
        self._execution = execution
        self._scale_shift: tuple[Tensor, Tensor] | None = None
        if seen is not None and config.mean and (seen.mean, seen.std) != (config.mean, config.std):
            ours, theirs = (torch.tensor((of.mean, of.std)) for of in (seen, config))
            scale, shift = ours[1] / theirs[1], (ours[0] - theirs[0]) / theirs[1]
            self._scale_shift = (_per_channel(scale, device), _per_channel(shift, device))

    @torch.no_grad()  # not inference mode, whose tensors a loss may not keep for its way back
    def logits(self, images: Tensor) -> Tensor:
        """Its logits (B, K) in float32, for images (B, 3, R, R) of any resolution."""
        if self._scale_shift is not None:  # a mixture of images becomes the mixture of theirs
            scale, shift = self._scale_shift
            images = images * scale + shift
        if images.shape[-1] != self._side:
            images = resized(images, self._side)
        with autocast(self._execution, images.device):
            answers: Tensor = self.network(images)
        return answers.float()


def _per_channel(values: Tensor, device: torch.device) -> Tensor:
    return values.to(device)[:, None, None]


def _load(network: nn.Module, weights: Weights) -> None:
    try:
        require_fit(network, weights, keep_head=True)
    except ConfigError as error:
        raise ConfigError(f"distillation: the teacher's {error}") from None
    network.load_state_dict(dict(weights))


def resized(images: Tensor, side: int) -> Tensor:
    """Images (B, C, R, R) as (B, C, side, side): bilinear, antialiased where they shrink."""
    return interpolate(images, (side, side), mode="bilinear", antialias=True)


def taught(batch: Batch, teacher: Teacher, *, parts: int = 1) -> Batch:
    """The batch with the teacher's answers, which it gives to so many parts one after the other."""
    pieces = batch.images.tensor_split(min(parts, len(batch.images)))
    return replace(batch, teacher=torch.cat([teacher.logits(images) for images in pieces]))


def may_be_kept(config: TrainConfig, *, num_images: int) -> bool:
    """Whether the teacher need look at each training image once (or twice: mirrored), not always.

    True where an image looks the same in every epoch, the answers are not too many to keep, and
    looking in advance is not more work than looking on.
    """
    augment = config.augment
    still = augment.crop == "none" and augment.policy is None and config.mix is None
    ways = 2 if augment.flip else 1
    small = 4 * ways * num_images * config.model.num_classes <= MOST_KEPT
    return still and small and config.epochs >= ways


class KeptAnswers:
    """What the teacher says of every training image as the student will see it."""

    def __init__(self, config: TrainConfig, subset: Subset, teacher: Teacher) -> None:
        self._config = config
        self._subset = subset
        self._teacher = teacher
        self._answers: list[Tensor] = []

    def ask(self, device: torch.device) -> Iterator[int]:
        """Ask for all of them; yields how many are known, from time to time.

        All at once and in the order of the images, rather than when they come up: the last digits
        of an answer depend on the batch that it is computed in, and a run that goes on where it was
        saved must hear the very same.
        """
        config = self._config
        self._answers = []
        done = 0
        for mirrored in (False, True)[: 1 + config.augment.flip]:
            found = []
            for batch in viewed_batches(
                self._subset,
                self._subset.indices,
                draw=partial(_still_views, config=config, mirrored=mirrored),
                resolution=config.model.resolution,
                batch_size=config.batch_size // config.accumulate,
                device=device,
                channels_last=config.execution.channels_last,
            ):
                found.append(self._teacher.logits(batch.images))
                done += len(batch.images)
                yield done
            self._answers.append(torch.cat(found))

    def to(self, batch: Batch) -> Batch:
        """The batch with the answers to it."""
        assert batch.indices is not None
        assert batch.mirrored is not None
        device = batch.images.device
        places = torch.from_numpy(np.searchsorted(self._subset.indices, batch.indices)).to(device)
        answers = self._answers[0][places]  # (B, K)
        if len(self._answers) > 1:
            mirrored = batch.mirrored.to(device)[:, None]
            answers = torch.where(mirrored, self._answers[1][places], answers)
        return replace(batch, teacher=answers)


def _still_views(sizes: Tensor, *, config: TrainConfig, mirrored: bool) -> Views:
    """The views of training where nothing but the mirror varies."""
    augment = config.augment.with_(flip=False)
    unused = torch.Generator()
    side = config.model.resolution
    views = training_views(sizes, augment=augment, resolution=side, generator=unused)
    return replace(views, mirrored=torch.full_like(views.mirrored, mirrored))
