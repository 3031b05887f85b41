"""AutoAugment's CIFAR-10 policy on one core: a batch at a time, against one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.data import unpacked
from benchmarks.harness import Row, in_fresh_process, in_turn, scratch, seconds

SIDE = 32
BATCH = 128
"""Images given to our side at a time, as in training."""

PEER = "torchvision v2.AutoAugment on PIL"


def measure(quick: bool) -> Iterator[Row]:
    """Images a second on real photographs."""
    with scratch() as folder:
        images = unpacked("cifar10", into=folder)
        rates = in_fresh_process(
            rates_on, images, count=BATCH if quick else 16 * BATCH, rounds=1 if quick else 5
        )
    ours, peer = rates.pop("ours"), rates.pop(PEER)
    yield Row(
        name="augmentation-images-per-second",
        ours=ours,
        peer=peer,
        peer_name=PEER,
        unit="images/s",
        goal=3.0,
        more_is_better=True,
        beside=rates,
        bound="sampling whole batches for rotations, and a histogram per equalised image",
    )


def rates_on(images: Path, *, count: int, rounds: int) -> dict[str, float]:
    """Median images a second of every way to apply the policy, in turn."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    pictures = _pictures(images, count)
    tensors = torch.stack([_as_tensor(picture) for picture in pictures])
    work: dict[str, Callable[[], object]] = {
        "ours": partial(_in_batches, tensors),
        PEER: partial(_one_by_one, _torchvision(), pictures),
        "torchvision v2.AutoAugment on tensors": partial(_one_by_one, _torchvision(), tensors),
        "timm AutoAugment on PIL": partial(_one_by_one, _timm(), pictures),
        "kornia AutoAugment on tensors": partial(_kornia, tensors),
    }
    for run in work.values():
        run()  # the first time allocates and fills caches
    times = in_turn({name: partial(seconds, run) for name, run in work.items()}, rounds=rounds)
    return {name: count / median(values) for name, values in times.items()}


def _pictures(images: Path, count: int) -> list[Any]:
    from PIL import Image

    files = sorted((images / "train").rglob("*.png"))
    chosen = files[:: max(len(files) // count, 1)][:count]
    return [Image.open(file).convert("RGB") for file in chosen]


def _as_tensor(picture: Any) -> Any:
    from torchvision.transforms.v2 import functional

    return functional.pil_to_tensor(picture)


def _in_batches(tensors: Any) -> None:
    from trainer.augment.apply import apply
    from trainer.augment.presets import autoaugment_cifar10

    policy = autoaugment_cifar10()
    for batch in tensors.split(BATCH):
        apply(policy, batch)


def _kornia(tensors: Any) -> None:
    """kornia draws one sub-policy for a batch: every image is one, so that each has its own."""
    from kornia.augmentation.auto import AutoAugment

    augment = AutoAugment(policy="cifar10")
    for image in tensors.float().div(255).split(1):
        augment(image)


def _one_by_one(transform: Callable[[Any], Any], images: Any) -> None:
    for image in images:
        transform(image)


def _torchvision() -> Callable[[Any], Any]:
    from torchvision.transforms import v2

    transform: Callable[[Any], Any] = v2.AutoAugment(v2.AutoAugmentPolicy.CIFAR10)
    return transform


def _timm() -> Callable[[Any], Any]:
    """timm has the ImageNet policy alone: as many operations an image, a similar mix of them."""
    from timm.data.auto_augment import auto_augment_transform

    transform: Callable[[Any], Any] = auto_augment_transform("original", {})
    return transform
