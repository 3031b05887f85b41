"""What the frozen part of a network makes of images, computed once and kept."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from trainer.config import ExecutionConfig
from trainer.data.batches import Batch, viewed_batches
from trainer.data.splits import Subset
from trainer.errors import DiskFull, is_disk_full
from trainer.fixres.anatomy import Anatomy, Link, run
from trainer.fixres.config import FixResConfig
from trainer.fixres.views import centred
from trainer.precision import autocast, memory_format

LARGEST = torch.finfo(torch.float16).max
"""Features beyond it are cut; a batch norm before the pool seldom sees more than a few hundred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where a network is cut to keep features, and how large those are."""

    cut: int
    """The links before it are run once, those up to the tuned part at each step."""
    shape: tuple[int, ...]
    """Of one image's features."""

    def bytes_for(self, images: int) -> int:
        """Of so many images in half precision."""
        return 2 * images * prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where features lie. It changes no result."""

    memory_bytes: int = 2**30
    """Up to so many are kept on the device that trains, more in a file."""
    scratch: Path | None = None
    """A folder for that file, which goes when the run ends; None is the system's."""


def plan_features(
    anatomy: Anatomy, config: FixResConfig, *, images: int, device: torch.device
) -> Plan | None:
    """How to keep the features of so many views; None where they are computed at each step.

    That is so where each view is seen once (v2), and where no cut keeps to `cache_bytes`.
    """
    if config.augmentation != "v1":
        return None
    side = config.test_resolution
    example = torch.zeros((1, 3, side, side), device=device)
    for cut in anatomy.cache_cuts:
        features = frozen_features(anatomy.links[:cut], example, execution=config.source.execution)
        plan = Plan(cut=cut, shape=tuple(features.shape[1:]))
        if plan.bytes_for(images) <= config.cache_bytes:
            return plan
    return None


@torch.no_grad()
def frozen_features(
    links: tuple[Link, ...], values: Tensor, *, execution: ExecutionConfig
) -> Tensor:
    """What these links make of images, or of features before them; without gradients."""
    with autocast(execution, values.device):
        return run(links, values)


class Features:
    """Kept features of a subset's images, each also mirrored if that is asked for."""

    def __init__(self, maps: Tensor, labels: Tensor, *, channels_last: bool) -> None:
        """Args: maps (N, 1 or 2, …) float16, the mirrored ones second; labels (N,)."""
        self._maps = maps
        self._labels = labels
        self._format = memory_format(ExecutionConfig(channels_last=channels_last))

    def __len__(self) -> int:
        return len(self._labels)

    def at(self, places: Tensor, mirrored: Tensor) -> Batch:
        """The features at these places (B,) of the subset, as if they were images."""
        rows = self._maps.flatten(0, 1)
        chosen = places * self._maps.shape[1] + mirrored.long()
        values = rows[chosen.to(rows.device)].to(self._labels.device).float()
        if values.dim() == 4:
            values = values.contiguous(memory_format=self._format)
        return Batch(images=values, labels=self._labels[places.to(self._labels.device)])


def compute_features(
    links: tuple[Link, ...],
    subset: Subset,
    *,
    plan: Plan,
    config: FixResConfig,
    mirrored: bool,
    storage: Storage,
    device: torch.device,
) -> Iterator[Features | int]:
    """Yield the number of views done after each batch, and at last the features of all images.

    The links are in evaluation mode.
    """
    execution = config.source.execution
    variants = 2 if mirrored else 1
    maps = _room((len(subset), variants, *plan.shape), storage=storage, device=device)
    batches = viewed_batches(
        subset,
        subset.indices,
        draw=centred(config),
        resolution=config.test_resolution,
        batch_size=config.batch_size,
        device=device,
        channels_last=execution.channels_last,
    )
    start = 0
    for batch in batches:
        end = start + len(batch.images)
        for variant in range(variants):
            images = batch.images.flip(3) if variant else batch.images
            features = frozen_features(links, images, execution=execution)
            maps[start:end, variant] = features.float().clamp(-LARGEST, LARGEST).to(maps)
        start = end
        yield end * variants
    labels = torch.from_numpy(subset.labels).to(device)
    yield Features(maps, labels, channels_last=execution.channels_last)


def _room(shape: tuple[int, ...], *, storage: Storage, device: torch.device) -> Tensor:
    """Uninitialised half-precision numbers on the device, or in a file that has no name."""
    size = 2 * prod(shape)
    if size <= storage.memory_bytes:
        return torch.empty(shape, dtype=torch.float16, device=device)
    with tempfile.TemporaryFile(dir=storage.scratch) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)  # or a full disk would kill the process
        except OSError as error:
            if not is_disk_full(error):
                raise
            where = storage.scratch or tempfile.gettempdir()
            raise DiskFull(f"{where}: no room for {size / 2**20:.0f} MiB of features") from error
        # the mapping outlives the file's closing, and goes with the last reference to it
        return torch.from_numpy(np.memmap(file, dtype=np.float16, mode="r+", shape=shape))
