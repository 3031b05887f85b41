from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from orchestrator.reporting.figures.canvas import DPI
from orchestrator.reporting.figures.policies import CELL_INCHES
from orchestrator.reporting.policy_picture import DRAWS, policy_rows, write_policy_picture
from tests.pictures import pictures
from trainer.augment.policy import (
    Augmentation,
    Operation,
    Policy,
    PolicySchedule,
    PopulationPolicy,
    Segment,
    SubPolicy,
)
from trainer.augment.presets import PRESETS, preset

SCHEDULE = PolicySchedule(
    name="schedule",
    segments=(
        Segment(epochs=1, policy=preset("bag-of-tricks-color")),
        Segment(epochs=3, policy=preset("randaugment")),
    ),
)
POPULATION = PopulationPolicy(
    name="population", operations=(Operation(name="invert", probability=0.1),)
)


def one(*operations: Operation) -> Policy:
    return Policy(name="one", sub_policies=(SubPolicy(operations=operations),))


def planes(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    ("policy", "count", "first"),
    [
        (preset("autoaugment-cifar10"), 25, "1. invert  p 0.1\ncontrast factor 1.3  p 0.2"),
        (preset("randaugment"), 14, "identity  p 1"),
        (POPULATION, 1, "invert  p 0.1"),
        (
            preset("bag-of-tricks-color"),
            1,
            "hue, saturation, brightness factor 0.6 to 1.4\nnoise 0.1 along each colour axis",
        ),
        (SCHEDULE, 2, "epoch 1"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_row_for_each_thing_that_is_drawn(policy: Augmentation, count: int, first: str) -> None:
    rows = policy_rows(policy, pictures(2, 8, 8))
    assert len(rows) == count
    assert rows[0].label == first
    assert {len(row.images) for row in rows} == {2 * (1 + DRAWS)}
    assert {(image.shape, image.dtype) for row in rows for image in row.images} == {
        ((8, 8, 3), np.dtype(np.uint8))
    }


@pytest.mark.parametrize("name", PRESETS)
def test_the_first_of_each_group_is_the_original(name: str) -> None:
    images = pictures(2, 8, 8)
    rows = policy_rows(preset(name), images)
    assert images.equal(pictures(2, 8, 8))
    for row in rows:
        for number, image in enumerate(images):
            assert np.array_equal(row.images[number * (1 + DRAWS)], planes(image))


def test_what_a_row_is_about_is_done_to_every_draw() -> None:
    images = pictures(1, 8, 8)
    rare = one(Operation(name="invert", probability=0.01))
    (row,) = policy_rows(rare, images)
    assert all(np.array_equal(image, 255 - planes(images[0])) for image in row.images[1:])


def test_what_a_policy_never_does_is_not_shown() -> None:
    images = pictures(1, 8, 8)
    (row,) = policy_rows(one(Operation(name="invert", probability=0)), images)
    assert row.label == "1. invert  p 0"
    assert all(np.array_equal(image, planes(images[0])) for image in row.images)


def test_an_image_is_paired_with_another() -> None:
    images = pictures(2, 8, 8)
    (row,) = policy_rows(one(Operation(name="sample-pairing", magnitude=1)), images)
    assert np.array_equal(row.images[1], planes(images[1]))
    assert np.array_equal(row.images[1 + DRAWS + 1], planes(images[0]))


def test_the_same_seed_draws_the_same() -> None:
    images, policy = pictures(2, 8, 8), preset("trivialaugment")
    first, again, other = (policy_rows(policy, images, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal([row.images for row in first], [row.images for row in again])
    assert not np.array_equal([row.images for row in first], [row.images for row in other])


@pytest.mark.parametrize(
    "policy", [preset("autoaugment-imagenet"), preset("cutout"), SCHEDULE], ids=lambda p: p.name
)
def test_the_picture_shows_every_row(policy: Augmentation, tmp_path: Path) -> None:
    path = tmp_path / "figures" / "policy.png"
    images = pictures(2, 32, 32)
    write_policy_picture(policy, images, path)
    with Image.open(path) as picture:
        width, height = picture.size
        shades = len(set(picture.convert("L").tobytes()))
    cell, rows = round(CELL_INCHES * DPI), len(policy_rows(policy, images))
    assert 30 < width - 2 * (1 + DRAWS) * cell < 600  # what is left is for the labels
    assert 10 < height - rows * cell < 100
    assert shades > 100
    write_policy_picture(policy, images, path)  # over the one that is there
    assert [file.name for file in path.parent.iterdir()] == ["policy.png"]
