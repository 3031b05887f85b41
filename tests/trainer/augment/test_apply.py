"""Whole policies on batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tests.pictures import pictures
from trainer.augment.apply import apply, apply_drawn
from trainer.augment.draws import OP_INDEX, Draws, draw
from trainer.augment.ops import OPS
from trainer.augment.policy import Operation, Policy, RandomPolicy, SubPolicy
from trainer.augment.presets import (
    autoaugment_cifar10,
    autoaugment_imagenet,
    autoaugment_svhn,
    preset,
    randaugment,
    trivialaugment,
)
from trainer.augment.torchvision_export import apply_with_torchvision
from trainer.errors import ConfigError

NAMES = tuple(OPS)
AFFINE = torch.tensor([op.family == "affine" for op in OPS.values()])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_torchvision(images: Tensor, draws: Draws) -> Tensor:
    """The same draws, an image at a time by torchvision's functions."""
    changed = []
    for index, image in enumerate(images):
        for step in draws.steps():
            image = apply_with_torchvision(
                image,
                NAMES[step.op[index]],
                float(step.magnitude[index]),
                place=tuple(step.place[index].tolist()),
                fill=128,
            )
        changed.append(image)
    return torch.stack(changed)


@pytest.mark.parametrize(
    "policy",
    [
        autoaugment_imagenet(),
        autoaugment_imagenet(mapping="torchvision"),
        autoaugment_cifar10(mapping="torchvision"),
        autoaugment_svhn(mapping="tpu"),
        randaugment(num_ops=3),
        trivialaugment(),
    ],
    ids=lambda policy: policy.name,
)
def test_batch_and_image_by_image_agree_on_the_same_draws(policy: Policy) -> None:
    """Exactly, but for pixels whose source lies between two others (see `test_ops`)."""
    images = pictures(160, 32, 32)
    draws = draw(policy, 160, seeded())
    difference = (apply_drawn(images, draws).int() - by_torchvision(images, draws).int()).abs()
    still = ~AFFINE[draws.op].any(0)
    assert still.sum() >= 20
    assert (difference[still] <= 2).all()
    assert (difference[still] == 0).double().mean() > 0.999
    assert (difference[~still] == 0).double().mean() > 0.98


def chain(*names_and_magnitudes: tuple[str, float], batch: int) -> Draws:
    """The same operations in a row for every image."""
    num = len(names_and_magnitudes)
    op = torch.tensor([OP_INDEX[name] for name, _ in names_and_magnitudes])
    magnitude = torch.tensor([value for _, value in names_and_magnitudes], dtype=torch.float64)
    return Draws(
        op=op.view(num, 1).expand(num, batch),
        magnitude=magnitude.view(num, 1).expand(num, batch),
        place=torch.full((num, batch, 2), 0.5, dtype=torch.float64),
        partner=torch.zeros((num, batch), dtype=torch.long),
    )


@pytest.mark.parametrize(
    "operations",
    [
        [("solarize", 100), ("posterize", 4)],
        [("equalize", 0), ("invert", 0), ("brightness", 1.3)],
        [("contrast", 1.5), ("identity", 0), ("solarize", 60), ("posterize", 5)],
        [("posterize", 4), ("translate-x", 0.25), ("invert", 0)],
        [("invert", 0), ("equalize", 0), ("solarize", 128), ("autocontrast", 0)],
        [("invert", 0), ("cutout", 0.5), ("brightness", 0.5), ("solarize", 30)],
    ],
)
def test_composed_tables_do_what_they_do_one_after_the_other(
    operations: list[tuple[str, float]],
) -> None:
    images = pictures(8, 20, 20)
    at_once = apply_drawn(images, chain(*operations, batch=8))
    in_turn = images
    for operation in operations:
        in_turn = apply_drawn(in_turn, chain(operation, batch=8))
    assert at_once.equal(in_turn)


def test_images_do_not_influence_each_other() -> None:
    images = pictures(64, 24, 24)
    draws = draw(autoaugment_imagenet(), 64, seeded())
    together = apply_drawn(images, draws)
    alone = [
        apply_drawn(
            images[i : i + 1],
            Draws(
                op=draws.op[:, i : i + 1],
                magnitude=draws.magnitude[:, i : i + 1],
                place=draws.place[:, i : i + 1],
                partner=torch.zeros_like(draws.partner[:, :1]),
            ),
        )
        for i in range(64)
    ]
    assert together.equal(torch.cat(alone))


def test_a_batch_cut_into_pieces_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    images, policies = pictures(40, 16, 16), ("autoaugment-cifar10", "bag-of-tricks-color")
    whole = [apply(preset(name), images, generator=seeded()) for name in policies]
    monkeypatch.setattr("trainer.augment.apply._CPU_PIECE", 3 * 16 * 16 * 4)
    assert all(
        apply(preset(name), images, generator=seeded()).equal(before)
        for name, before in zip(policies, whole, strict=True)
    )


def test_the_same_seed_gives_the_same_batch_and_leaves_the_input_alone() -> None:
    images = pictures(32, 16, 16)
    before = images.clone()
    policy = preset("randaugment")
    first, second, other = (apply(policy, images, generator=seeded(s)) for s in (1, 1, 2))
    assert first.equal(second)
    assert not first.equal(other)
    assert images.equal(before)


def test_a_batch_in_channels_last_gives_the_same() -> None:
    images = pictures(32, 16, 20)
    last = images.contiguous(memory_format=torch.channels_last)
    for name in ("autoaugment-cifar10", "autoaugment-imagenet", "bag-of-tricks-color"):
        policy = preset(name)
        changed = apply(policy, images, generator=seeded())
        assert apply(policy, last, generator=seeded()).equal(changed)


def test_sub_policies_of_different_lengths_share_a_batch() -> None:
    invert = Operation(name="invert")
    policy = Policy(
        name="uneven",
        sub_policies=(
            SubPolicy(operations=(invert,)),
            SubPolicy(operations=(invert, invert, invert)),
            SubPolicy(operations=(invert, invert)),
        ),
    )
    images = torch.full((300, 3, 2, 2), 10, dtype=torch.uint8)
    values = apply(policy, images, generator=seeded())[:, 0, 0, 0].tolist()
    assert set(values) == {10, 245}
    assert 60 < values.count(10) < 140  # a third of the images is inverted twice


def test_every_paired_image_is_mixed_with_another_as_it_came_in() -> None:
    pair = SubPolicy(
        operations=(
            Operation(name="invert"),
            Operation(name="sample-pairing", magnitude=0.25),
        )
    )
    images = torch.tensor([0, 80, 200], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 3, 4, 4)
    mixed = apply(Policy(name="pair", sub_policies=(pair,)), images, generator=seeded())
    for index, own in enumerate((255, 175, 55)):
        others = {0, 80, 200} - {255 - own}
        assert int(mixed[index, 0, 0, 0]) in {int(0.75 * own + 0.25 * other) for other in others}


def test_grey_images_are_augmented_as_grey() -> None:
    images = pictures(64, 16, 16, channels=1)
    for name in ("autoaugment-imagenet", "randaugment", "cutout"):
        grey = apply(preset(name), images, generator=seeded())
        assert grey.shape == images.shape
        assert not grey.equal(images)
    assert apply(preset("bag-of-tricks-color"), images).equal(images)
    color = Operation(name="color", magnitude=0)
    policy = Policy(name="color", sub_policies=(SubPolicy(operations=(color,)),))
    assert apply(policy, images).equal(images)


def test_an_alpha_channel_moves_with_the_image_and_is_opaque_where_filled() -> None:
    images = pictures(64, 16, 16, channels=4)
    images[:, 3] = images[:, 0]
    draws = draw(autoaugment_cifar10(), 64, seeded())
    changed = apply_drawn(images, draws, fill=255)
    assert changed[:, :3].equal(apply_drawn(images[:, :3], draws, fill=255))
    moves = replace(draws, op=torch.where(AFFINE[draws.op], draws.op, OP_INDEX["identity"]))
    assert changed[:, 3:].equal(apply_drawn(images[:, :1], moves, fill=255))
    jittered = apply(preset("bag-of-tricks-color"), images, generator=seeded())
    assert jittered[:, 3].equal(images[:, 3])
    assert not jittered[:, :3].equal(images[:, :3])


def test_the_fill_is_the_policys() -> None:
    shift = Operation(name="translate-x", magnitude=0.5, mirrored=False)
    images = torch.zeros((2, 3, 4, 4), dtype=torch.uint8)
    policy = Policy(name="shift", sub_policies=(SubPolicy(operations=(shift,)),))
    assert apply(policy, images)[0, :, 0, 0].tolist() == [128, 128, 128]
    colored = replace(policy, fill=(1, 2, 3))
    assert apply(colored, images)[0, :, 0, 0].tolist() == [1, 2, 3]


def test_an_empty_batch_stays_empty() -> None:
    for name in ("autoaugment-imagenet", "bag-of-tricks-color", "sample-pairing"):
        assert apply(preset(name), pictures(0, 8, 8)).shape == (0, 3, 8, 8)


@pytest.mark.parametrize("name", ["randaugment", "bag-of-tricks-color"])
def test_images_of_another_kind_are_refused_in_one_line(name: str) -> None:
    policy = preset(name)
    with pytest.raises(ConfigError, match="must be uint8 with values of 0 to 255, got float32"):
        apply(policy, torch.rand(2, 3, 8, 8))
    with pytest.raises(ConfigError, match=r"must be \(batch, .*got \(3, 8, 8\)"):
        apply(policy, torch.zeros((3, 8, 8), dtype=torch.uint8))
    with pytest.raises(ConfigError, match=r"1, 3 or 4 channels, .*got \(2, 2, 8, 8\)"):
        apply(policy, torch.zeros((2, 2, 8, 8), dtype=torch.uint8))


def test_a_coloured_fill_for_grey_images_is_refused() -> None:
    policy = replace(randaugment(), fill=(1, 2, 3))
    with pytest.raises(ConfigError, match=r"grey images need a fill of one level, got \(1, 2, 3\)"):
        apply(policy, pictures(2, 8, 8, channels=1))


@pytest.mark.gpu
@pytest.mark.parametrize("policy", [autoaugment_imagenet(), autoaugment_cifar10(), randaugment()])
def test_a_gpu_gives_what_the_cpu_gives(policy: Policy | RandomPolicy) -> None:
    images = pictures(256, 32, 32)
    draws = draw(policy, 256, seeded())
    on_gpu = apply_drawn(images.cuda(), draws).cpu()
    assert (on_gpu == apply_drawn(images, draws)).double().mean() > 0.999
