from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.trainer.data.factories import MakeFolder
from trainer.augment.apply import apply
from trainer.augment.presets import autoaugment_cifar10
from trainer.config import AugmentConfig, DataConfig
from trainer.data.batches import (
    Batch,
    epoch_generator,
    evaluation_batches,
    normalise,
    steps_per_epoch,
    training_batches,
)
from trainer.data.cache import prepare
from trainer.data.decoded import DecodedSet
from trainer.data.splits import ChannelStatistics, Subset, carve

STILL = AugmentConfig(crop="none", flip=False)


def _subset(decoded: DecodedSet) -> Subset:
    return carve(decoded, DataConfig()).train


def _epoch(subset: Subset, **changes: object) -> Iterator[Batch]:
    settings = {
        "augment": AugmentConfig(),
        "resolution": 8,
        "batch_size": 4,
        "epoch": 1,
        "seed": 0,
        "device": "cpu",
    }
    return training_batches(subset, **(settings | changes))  # type: ignore[arg-type]


def _images(batches: Iterator[Batch]) -> torch.Tensor:
    return torch.cat([batch.images for batch in batches])


@pytest.mark.parametrize("crop", ["none", "pad", "random-resized"])
@pytest.mark.parametrize("name", ["small", "ragged"])
def test_an_epoch_repeats_exactly_without_those_before_it(
    request: pytest.FixtureRequest, name: str, crop: str
) -> None:
    subset = _subset(request.getfixturevalue(name))
    augment = AugmentConfig(crop=crop)  # type: ignore[arg-type]
    first = _images(_epoch(subset, augment=augment, epoch=3))
    torch.manual_seed(1)  # other draws do not matter
    list(islice(_epoch(subset, augment=augment, epoch=2), 2))
    assert torch.equal(_images(_epoch(subset, augment=augment, epoch=3)), first)


@pytest.mark.parametrize("change", [{"epoch": 2}, {"seed": 1}])
def test_epochs_and_seeds_differ(small: DecodedSet, change: dict[str, int]) -> None:
    subset = _subset(small)
    first, second = _images(_epoch(subset)), _images(_epoch(subset, **change))
    assert not torch.equal(first, second)


def test_the_order_does_not_depend_on_the_augmentation(ragged: DecodedSet) -> None:
    subset = _subset(ragged)
    orders = [
        torch.cat([batch.labels for batch in _epoch(subset, augment=augment)]).tolist()
        for augment in (STILL, AugmentConfig(crop="pad"), AugmentConfig(crop="random-resized"))
    ]
    assert orders[0] == orders[1] == orders[2]


def test_an_epoch_shows_every_image_once_with_its_label(small: DecodedSet) -> None:
    subset = _subset(small)
    batches = list(_epoch(subset, augment=STILL, batch_size=3))
    seen = _images(iter(batches))
    known = _images(evaluation_batches(subset, resolution=8, batch_size=5, device="cpu"))
    matches = (seen[:, None] == known[None]).flatten(2).all(dim=2)  # (seen, known)
    assert len(seen) == len(known) == 18
    assert (matches.sum(dim=0) == 1).all()
    labels = torch.cat([batch.labels for batch in batches])
    assert labels.tolist() == subset.labels[matches.int().argmax(dim=1).numpy()].tolist()


@pytest.mark.parametrize(("batch_size", "sizes"), [(5, [5, 5, 5]), (18, [18]), (40, [18])])
def test_an_incomplete_batch_is_left_out_unless_it_is_the_only_one(
    small: DecodedSet, batch_size: int, sizes: list[int]
) -> None:
    subset = _subset(small)
    batches = list(_epoch(subset, batch_size=batch_size))
    assert [len(batch.labels) for batch in batches] == sizes
    assert steps_per_epoch(len(subset), batch_size) == len(sizes)


def test_evaluation_goes_through_all_images_in_order(ragged: DecodedSet) -> None:
    subset = carve(ragged, DataConfig()).reporting
    batches = list(evaluation_batches(subset, resolution=32, batch_size=3, device="cpu"))
    assert [len(batch.labels) for batch in batches] == [3, 3, 2]
    assert torch.cat([batch.labels for batch in batches]).tolist() == [0] * 4 + [1] * 4


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("name", ["small", "ragged"])
def test_batches_are_what_networks_take(
    request: pytest.FixtureRequest, name: str, channels_last: bool
) -> None:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    subset = _subset(request.getfixturevalue(name))
    batch = next(_epoch(subset, resolution=24, channels_last=channels_last))
    assert batch.images.shape == (4, 3, 24, 24)
    assert batch.images.dtype == torch.float32
    assert batch.images.is_contiguous(memory_format=layout)
    assert batch.labels.dtype == torch.int64


def test_training_images_have_mean_zero_and_deviation_one(small: DecodedSet) -> None:
    images = _images(evaluation_batches(_subset(small), resolution=8, batch_size=9, device="cpu"))
    assert torch.allclose(images.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(images.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-5)


def test_a_policy_changes_what_would_be_seen_by_a_stream_of_its_own(small: DecodedSet) -> None:
    raw = ChannelStatistics(mean=(0.0,) * 3, std=(1 / 255,) * 3)
    subset, policy = replace(_subset(small), statistics=raw), autoaugment_cifar10()
    rng = epoch_generator(0, 1, "policy")
    varied = _epoch(subset, augment=STILL.with_(policy=policy))
    for batch, plain in zip(varied, _epoch(subset, augment=STILL), strict=True):
        pixels = plain.images.round().to(torch.uint8)
        expected = apply(policy, pixels, generator=rng)
        assert not torch.equal(expected, pixels)
        assert torch.equal(batch.images.round().to(torch.uint8), expected)


def test_normalising_is_the_usual_formula() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(-1, -1, -1, 3)
    statistics = ChannelStatistics(mean=(0.1, 0.5, 0.9), std=(0.2, 0.25, 0.3))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (statistics.mean, statistics.std))
    expected = (images.permute(0, 3, 1, 2) / 255 - mean) / std
    for channels_last in (False, True):
        seen = normalise(images, statistics, channels_last=channels_last)
        assert torch.allclose(seen, expected, atol=2e-6)


def test_a_streamed_set_gives_the_batches_of_a_kept_one(
    make_folder: MakeFolder, cache_root: Path
) -> None:
    root = make_folder({"": {"a": 9, "b": 9}}, sizes=[(20, 30), (30, 20)])
    kept, streamed = (
        _images(_epoch(_subset(prepare(str(root), cache_root=cache, limit_bytes=limit))))
        for cache, limit in ((cache_root, 10**6), (cache_root / "other", 0))
    )
    assert torch.equal(kept, streamed)


def test_small_images_are_evaluated_whole_and_photographs_in_their_centre(
    make_folder: MakeFolder, cache_root: Path
) -> None:
    for side, fraction in ((63, 1.0), (64, 0.875)):
        root = make_folder({"": {"a": 3, "b": 3}}, sizes=[(side, side)], name=f"set{side}")
        subset = _subset(prepare(str(root), cache_root=cache_root))
        settings = {"resolution": 24, "batch_size": 2, "device": "cpu"}
        default, explicit = (
            _images(evaluation_batches(subset, **settings, **more))  # type: ignore[arg-type]
            for more in ({}, {"crop_fraction": fraction})
        )
        assert torch.equal(default, explicit)


def test_digits_are_enlarged_bilinearly(tmp_path: Path) -> None:
    decoded = prepare("digits", cache_root=tmp_path)
    subset = Subset(
        decoded=decoded,
        indices=np.arange(5),
        statistics=ChannelStatistics(mean=(0.0,) * 3, std=(1 / 255,) * 3),
    )
    seen = _images(evaluation_batches(subset, resolution=32, batch_size=5, device="cpu"))
    small = torch.from_numpy(decoded.images.stack(np.arange(5))).permute(0, 3, 1, 2).float()
    expected = torch.nn.functional.interpolate(small, size=(32, 32), mode="bilinear")
    assert (seen - expected).abs().max() <= 0.501  # rounded to 8 bits
