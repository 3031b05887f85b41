from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from trainer.config import AugmentConfig, DataConfig, MixConfig
from trainer.data.batches import Batch, training_batches
from trainer.data.decoded import DecodedSet
from trainer.data.mixing import (
    Boxes,
    cutmix,
    draw_boxes,
    draw_shares,
    mix,
    mixed_batches,
    mixup,
    uncovered,
)
from trainer.data.splits import Subset, carve

KINDS = ("mixup", "cutmix")
DRAWS = ("batch", "sample")


def flat(count: int = 8, *, side: int = 16, start: int = 0) -> Batch:
    """Image i is i all over and shows class i: what a mixture holds of it can be read off."""
    values = torch.arange(start, start + count)
    images = values.float()[:, None, None, None].expand(-1, 3, side, side)
    return Batch(images=images.contiguous(), labels=values)


def mixed(config: MixConfig, batch: Batch, partner: Batch, *, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    return mix(batch, partner, config, num_classes=32, rng=rng)


def first_shares(batch: Batch) -> Tensor:
    """What of each image of `flat()` is left, in a mixture with one of `flat(start=16)`."""
    partner = torch.arange(16, 16 + len(batch.images)).float()
    own = torch.arange(len(batch.images)).float()
    return (partner - batch.images.mean(dim=(1, 2, 3))) / (partner - own)


def test_a_mixture_holds_the_shares_that_its_label_says() -> None:
    images, partners = torch.full((1, 3, 2, 2), 10.0), torch.full((1, 3, 2, 2), 20.0)
    assert mixup(images, partners, torch.tensor([0.3])).unique().tolist() == pytest.approx([17.0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("seed", range(5))
def test_labels_are_mixed_as_the_pixels_are(kind: str, draw: str, seed: int) -> None:
    config = MixConfig(kind=kind, alpha=1.0, draw=draw)  # type: ignore[arg-type]
    found = mixed(config, flat(), flat(start=16), seed=seed)
    shares = first_shares(found)
    places = torch.arange(8)
    expected = torch.zeros(8, 32)
    expected[places, places], expected[places, places + 16] = shares, 1 - shares
    torch.testing.assert_close(found.labels, expected, rtol=0, atol=1e-5)
    assert found.labels.dtype == torch.float32


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("draw", "different"), [("batch", 1), ("sample", 64)])
def test_a_share_is_drawn_for_the_batch_or_for_each_image(
    kind: str, draw: str, different: int
) -> None:
    config = MixConfig(kind=kind, alpha=1.0, draw=draw)  # type: ignore[arg-type]
    shares = draw_shares(config, 1 if draw == "batch" else 64, rng=np.random.default_rng(0))
    assert len(set(shares.tolist())) == different
    found = first_shares(mixed(config, flat(), flat(start=16))).round(decimals=4)
    assert (len(found.unique()) == 1) is (draw == "batch")


@pytest.mark.parametrize("kind", KINDS)
def test_shares_are_drawn_from_beta(kind: str) -> None:
    """Of Beta(α, α) the mean is 1/2 and the variance 1/(4·(2α + 1))."""
    for alpha in (0.2, 1.0, 4.0):
        config = MixConfig(kind=kind, alpha=alpha)  # type: ignore[arg-type]
        shares = draw_shares(config, 100_000, rng=np.random.default_rng(0))
        assert shares.mean() == pytest.approx(0.5, abs=0.005)
        assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.02)


def test_every_batch_is_mixed_by_a_share_from_beta_0_2_unless_told_otherwise() -> None:
    assert MixConfig() == MixConfig(kind="mixup", alpha=0.2, draw="batch", probability=1.0)


def test_what_the_coin_spares_is_not_mixed() -> None:
    config = MixConfig(draw="sample", probability=0.25, alpha=4.0)
    shares = draw_shares(config, 10_000, rng=np.random.default_rng(0))
    assert (shares < 1).mean() == pytest.approx(0.25, abs=0.02)
    rare = MixConfig(probability=1e-9)
    batch = flat()
    assert mixed(rare, batch, flat(start=16)) is batch


def test_the_area_that_is_seen_counts_and_not_the_one_that_was_drawn() -> None:
    edges = (torch.tensor([0, 4]), torch.tensor([2, 8]), torch.tensor([6, 0]), torch.tensor([8, 8]))
    boxes = Boxes(*edges)  # 2·2 and 4·8 of 64 pixels
    assert uncovered(boxes, height=8, width=8).tolist() == [1 - 4 / 64, 1 - 32 / 64]
    found = cutmix(torch.zeros(2, 3, 8, 8), torch.ones(2, 3, 8, 8), boxes)
    assert found.mean(dim=(1, 2, 3)).tolist() == pytest.approx([4 / 64, 32 / 64])
    assert found[0, :, :2, 6:].eq(1).all()
    assert found[1, :, 4:].eq(1).all()


@pytest.mark.parametrize("draw", DRAWS)
def test_cutmix_takes_every_pixel_from_one_image_or_the_other(draw: str) -> None:
    config = MixConfig(kind="cutmix", alpha=1.0, draw=draw)  # type: ignore[arg-type]
    found = mixed(config, flat(), flat(start=16))
    for number, image in enumerate(found.images):
        assert set(image.unique().tolist()) <= {number, number + 16}
    assert len(found.images.unique()) > 8  # not those of the first images alone


def test_boxes_have_the_drawn_area_unless_the_border_cuts_them() -> None:
    shares = np.full(2_000, 0.75)
    boxes = draw_boxes(shares, height=64, width=32, rng=np.random.default_rng(0))
    heights, widths = boxes.bottom - boxes.top, boxes.right - boxes.left
    assert (heights.max(), widths.max()) == (32, 16)  # half of either side: a quarter of the area
    left = uncovered(boxes, height=64, width=32)
    assert left.min() == 0.75
    assert left.mean() > 0.78  # many a box reaches over the border
    for low, high, side in ((boxes.top, boxes.bottom, 64), (boxes.left, boxes.right, 32)):
        assert low.min() == 0
        assert high.max() == side


def test_the_sides_of_boxes_are_rounded_down() -> None:
    shares = np.random.default_rng(0).random(2_000)
    boxes = draw_boxes(shares, height=7, width=12, rng=np.random.default_rng(1))
    assert (uncovered(boxes, height=7, width=12) >= shares).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_layout_of_the_images_stays(kind: str, layout: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [
        torch.randn(8, 3, 16, 16, generator=generator).contiguous(memory_format=layout)
        for _ in range(2)
    ]
    batch, partner = (Batch(images=images, labels=torch.arange(8)) for images in parts)
    for draw in DRAWS:
        config = MixConfig(kind=kind, draw=draw, alpha=1.0)  # type: ignore[arg-type]
        images = mixed(config, batch, partner).images
        assert images.is_contiguous(memory_format=layout)
        assert images.dtype == torch.float32


def subset_of(decoded: DecodedSet) -> Subset:
    return carve(decoded, DataConfig()).train


def plain(subset: Subset, *, also: str = "", epoch: int = 1) -> Iterator[Batch]:
    return training_batches(
        subset,
        augment=AugmentConfig(),
        resolution=8,
        batch_size=4,
        epoch=epoch,
        seed=0,
        device="cpu",
        also=also,
    )


def epoch_of(
    subset: Subset, config: MixConfig, *, epoch: int = 1, seed: int = 0, partners: bool = False
) -> list[Batch]:
    further = plain(subset, also="partner ", epoch=epoch) if partners else None
    batches = plain(subset, epoch=epoch)
    return list(mixed_batches(batches, further, config, num_classes=32, seed=seed, epoch=epoch))


def numbers(batches: Iterator[Batch]) -> list[int]:
    """Of the images, in their order."""
    found: list[int] = []
    for batch in batches:
        assert batch.indices is not None
        found += batch.indices.tolist()
    return found


def images_of(batches: list[Batch]) -> Tensor:
    return torch.cat([batch.images for batch in batches])


def test_a_mixture_depends_on_seed_epoch_and_step_alone(small: DecodedSet) -> None:
    subset, config = subset_of(small), MixConfig(alpha=1.0)
    first = images_of(epoch_of(subset, config))
    torch.manual_seed(1)
    np.random.default_rng().random()
    assert torch.equal(images_of(epoch_of(subset, config)), first)
    assert not torch.equal(images_of(epoch_of(subset, config, seed=1)), first)
    batch = flat(4)
    steps = list(mixed_batches(iter([batch] * 3), None, config, num_classes=32, seed=0, epoch=1))
    again = next(mixed_batches(iter([batch]), None, config, num_classes=32, seed=0, epoch=2))
    shares = {step.labels.max().item() for step in (*steps, again)}
    assert len(shares) == 4  # each step and each epoch has its own


@pytest.mark.parametrize("partners", [False, True])
def test_the_images_and_their_order_are_those_of_a_run_that_does_not_mix(
    small: DecodedSet, partners: bool
) -> None:
    subset = subset_of(small)
    draw = "sample" if partners else "batch"
    rare = MixConfig(probability=1e-9, draw=draw)  # type: ignore[arg-type]
    assert torch.equal(
        images_of(epoch_of(subset, rare, partners=partners)), images_of(list(plain(subset)))
    )


def test_an_image_is_mixed_with_another_of_its_batch() -> None:
    batch = flat(4)
    config = MixConfig(alpha=1.0)
    (found,) = mixed_batches(iter([batch]), None, config, num_classes=4, seed=0, epoch=1)
    assert (found.labels > 0).sum(dim=1).tolist() == [2] * 4
    assert found.labels.sum(dim=0).tolist() == pytest.approx([1.0] * 4)  # each is a partner once
    shown = found.images.mean(dim=(1, 2, 3))
    torch.testing.assert_close(shown, found.labels @ torch.arange(4.0))


def test_partners_of_single_images_come_from_another_pass(small: DecodedSet) -> None:
    subset = subset_of(small)
    one, other = (numbers(plain(subset, also=also)) for also in ("", "partner "))
    assert one != other
    assert len(set(other)) == len(other)
    turns = [[b.mirrored.tolist() for b in plain(subset, also=also)] for also in ("", "partner ")]  # type: ignore[union-attr]
    assert turns[0] != turns[1]
    config = MixConfig(draw="sample", alpha=1.0)
    found = epoch_of(subset, config, partners=True)
    for batch, mine, theirs in zip(
        found, plain(subset), plain(subset, also="partner "), strict=True
    ):
        shares = batch.labels[torch.arange(4), mine.labels]
        same = mine.labels == theirs.labels
        assert shares[same].tolist() == pytest.approx([1.0] * int(same.sum()))
        first = shares[~same][:, None, None, None]
        expected = first * mine.images[~same] + (1 - first) * theirs.images[~same]
        torch.testing.assert_close(batch.images[~same], expected)
