"""An epoch of training images from the cache, against decoding them again every epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.data import unpacked
from benchmarks.harness import Row, in_fresh_process, in_turn, scratch, seconds

RESOLUTION = 128
BATCH = 64
PAID_BACK_BY = 3
"""The epoch by which decoding everything once must have cost nothing."""

PEER = "ImageFolder + DataLoader(num_workers=2)"


def measure(quick: bool) -> Iterator[Row]:
    """Random-resized crop, flip, normalisation: one thread of ours, two workers of theirs."""
    with scratch() as folder:
        images = unpacked("flowers160", into=folder)
        cold = in_fresh_process(seconds_to_decode, images, folder / "cache")
        times = in_turn(
            {
                "ours": partial(in_fresh_process, seconds_from_cache, images, folder / "cache"),
                "peer": partial(in_fresh_process, seconds_from_files, images),
            },
            rounds=1 if quick else 5,
        )
    ours, peer = median(times["ours"]), median(times["peer"])
    yield Row(
        name="input-pipeline-epoch",
        ours=ours,
        peer=peer,
        peer_name=PEER,
        unit=f"s an epoch at {RESOLUTION} px",
        goal=2.5,
        bound="resizing the crops, which both sides do",
    )
    yield Row(
        name="input-pipeline-cache-paid-back",
        ours=cold + PAID_BACK_BY * ours,
        peer=PAID_BACK_BY * peer,
        peer_name=PEER,
        unit=f"s for {PAID_BACK_BY} epochs, decoding included",
        goal=1.0,
        beside={"decoding once": cold},
        bound="decoding both splits and hashing their content",
    )


def seconds_to_decode(images: Path, cache: Path) -> float:
    """A data set's first use: every image of every split is decoded into the cache."""
    from trainer.data.cache import prepare

    return seconds(lambda: prepare(str(images), cache_root=cache))


def seconds_from_cache(images: Path, cache: Path) -> float:
    """Our epoch on one thread, as a trial has it, after a first one that is not timed."""
    import numpy as np
    import torch

    from trainer.config import AugmentConfig, DataConfig
    from trainer.data.batches import training_batches
    from trainer.data.cache import prepare
    from trainer.data.splits import Subset, carve

    torch.set_num_threads(1)
    decoded = prepare(str(images), cache_root=cache)
    train = decoded.splits["train"]
    statistics = carve(decoded, DataConfig(dataset=str(images))).train.statistics
    # The whole split, where a search would set a part aside to select on.
    subset = Subset(
        decoded=decoded, indices=np.arange(train.start, train.stop), statistics=statistics
    )
    epoch = partial(
        training_batches,
        subset,
        augment=AugmentConfig(crop="random-resized", flip=True),
        resolution=RESOLUTION,
        batch_size=BATCH,
        seed=0,
        device="cpu",
    )
    _exhaust(epoch(epoch=1))
    return seconds(lambda: _exhaust(epoch(epoch=2)))


def seconds_from_files(images: Path) -> float:
    """The usual epoch, after a first one that is not timed; the workers stay."""
    from torch.utils.data import DataLoader
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(RESOLUTION),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.46, 0.42, 0.30), (0.30, 0.27, 0.29)),
        ]
    )
    loader = DataLoader(
        ImageFolder(str(images / "train"), transform),
        batch_size=BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=2,
        persistent_workers=True,
    )
    _exhaust(loader)
    return seconds(lambda: _exhaust(loader))


def _exhaust(batches: Iterable[object]) -> None:
    for _ in batches:
        pass
