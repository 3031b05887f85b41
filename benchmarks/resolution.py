"""Test resolutions: kept features against a plain loop, a sweep against bare forward passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.data import unpacked
from benchmarks.harness import Row, in_fresh_process, in_turn, scratch, seconds

if TYPE_CHECKING:
    from torch import Tensor, nn

    from trainer.data.splits import Splits, Subset
    from trainer.fixres.config import FixResConfig

TRAINED_AT, TESTED_AT = 64, 96
SWEPT = (64, 96, 128, 160, 192)
BATCH = 32
PARTS = ("features", "avgpool", "classifier")
ROUNDS = 3
"""Of sweeps; the loop takes long enough to be run once."""

LOOP = "frozen backbone run at every step, on images in memory"
PASSES = "the same forward passes on images in memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much is done."""

    train_images: int
    held_out: int
    epochs: int
    rounds: int


WHOLE = Amount(train_images=256, held_out=64, epochs=30, rounds=ROUNDS)
LITTLE = Amount(train_images=102, held_out=32, epochs=2, rounds=1)


def measure(quick: bool) -> Iterator[Row]:
    """EfficientNet-B0 on photographs, one thread each."""
    amount = LITTLE if quick else WHOLE
    with scratch() as folder:
        images = unpacked("flowers160", into=folder)
        tuning = in_fresh_process(tuning_times, images, folder / "cache", amount=amount)
        swept = in_fresh_process(sweep_times, images, folder / "cache", amount=amount)
    yield Row(
        name="fixres-kept-features",
        ours=tuning["ours"],
        peer=tuning["peer"],
        peer_name=LOOP,
        unit=f"s for {amount.epochs} epochs at {TESTED_AT} px",
        goal=10.0,
        bound="the one pass that the features are from, each image mirrored too",
    )
    yield Row(
        name="fixres-sweep",
        ours=swept["ours"],
        peer=swept["peer"],
        peer_name=PASSES,
        unit=f"s for {len(SWEPT)} resolutions",
        goal=1 / 1.2,
        bound="resizing and normalising the images",
    )


def tuning_times(images: Path, cache: Path, *, amount: Amount) -> dict[str, float]:
    """Seconds of a whole fine-tuning, either way: its evaluation after each epoch included."""
    from trainer.fixres.adapt import fixres

    config, network, splits = _material(images, cache, amount=amount)

    def ours() -> None:
        for _ in fixres(config, network, splits):
            pass

    peer = partial(_plain_loop, config, network, splits)
    return {"peer": seconds(peer), "ours": seconds(ours)}


def sweep_times(images: Path, cache: Path, *, amount: Amount) -> dict[str, float]:
    """Median seconds of a sweep and of the forward passes in it."""
    import torch

    from trainer.fixres.sweep import sweep

    config, network, splits = _material(images, cache, amount=amount)
    batches = [batch for side in SWEPT for batch in _batches(splits.selection, side)]

    def ours() -> None:
        sweep(
            network,
            splits.selection,
            SWEPT,
            config=config.source,
            crop_fraction=config.crop_fraction,
            device=torch.device("cpu"),
        )

    @torch.inference_mode()
    def bare() -> None:
        for pixels, _ in batches:
            network(pixels)

    bare()
    work: dict[str, Callable[[], float]] = {
        "peer": partial(seconds, bare),
        "ours": partial(seconds, ours),
    }
    return {name: median(times) for name, times in in_turn(work, rounds=amount.rounds).items()}


def _material(
    images: Path, cache: Path, *, amount: Amount
) -> tuple[FixResConfig, nn.Module, Splits]:
    """An untrained network, which costs what a trained one does, and some of the photographs."""
    import torch

    from trainer.config import DataConfig, TrainConfig
    from trainer.data.cache import prepare
    from trainer.data.splits import carve
    from trainer.fixres.config import FixResConfig
    from trainer.models.build import build
    from trainer.models.children import child

    torch.set_num_threads(1)
    torch.manual_seed(0)
    decoded = prepare(str(images), cache_root=cache)
    data = DataConfig(dataset=str(images), train_images=amount.train_images)
    model = child("efficientnet-b0", num_classes=decoded.num_classes, resolution=TRAINED_AT)
    splits = carve(decoded, data)
    held = replace(splits.selection, indices=splits.selection.indices[: amount.held_out])
    config = FixResConfig(
        source=TrainConfig(model=model, data=data, batch_size=BATCH),
        test_resolution=TESTED_AT,
        epochs=amount.epochs,
        batch_size=BATCH,
    )
    network = build(model).to(memory_format=torch.channels_last).eval()
    return config, network, replace(splits, selection=held)


def _batches(subset: Subset, side: int) -> list[tuple[Tensor, Tensor]]:
    from trainer.data.batches import evaluation_batches

    batches = evaluation_batches(
        subset, resolution=side, batch_size=BATCH, device="cpu", channels_last=True
    )
    return [(batch.images, batch.labels) for batch in batches]


def _plain_loop(config: FixResConfig, network: nn.Module, splits: Splits) -> None:
    """The usual script: everything in evaluation mode but the last batch norm, and the gradients
    of the classifier alone; each epoch shows every image, mirrored or not, and evaluates."""
    import torch
    from torch.nn.functional import cross_entropy

    from trainer.fixres.anatomy import dissect

    train = _batches(splits.train, config.test_resolution)
    held_out = _batches(splits.selection, config.test_resolution)
    features, pool, classifier = (network.get_submodule(name) for name in PARTS)
    last = dissect(network).norm
    assert last is not None
    norm = last.module
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.002, momentum=0.9, weight_decay=1e-4)
    for _ in range(config.epochs):
        norm.train()
        for place in torch.randperm(len(train)).tolist():
            pixels, labels = train[place]
            mirrored = torch.rand(len(pixels)) < 0.5
            pixels = torch.where(mirrored[:, None, None, None], pixels.flip(3), pixels)
            with torch.no_grad():
                pooled = pool(features(pixels)).flatten(1)
            loss = cross_entropy(classifier(pooled), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        norm.eval()
        with torch.inference_mode():
            for pixels, labels in held_out:
                (network(pixels).argmax(1) == labels).sum().item()
