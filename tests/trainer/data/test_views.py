import math

import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from trainer.config import AugmentConfig
from trainer.data.views import central_squares, evaluation_views, random_boxes, training_views

SCALE, RATIO = (0.08, 1.0), (3 / 4, 4 / 3)


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _sizes(height: int, width: int, count: int) -> torch.Tensor:
    return torch.tensor([[height, width]]).expand(count, 2)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 300), (300, 2), (64, 64), (160, 213)])
def test_boxes_lie_within_the_image(height: int, width: int) -> None:
    sizes = _sizes(height, width, 2000)
    corner, extent = random_boxes(sizes, scale=SCALE, ratio=RATIO, generator=_rng())
    assert (corner >= 0).all()
    assert (extent > 0).all()
    assert (corner + extent <= sizes).all()


@pytest.mark.parametrize(("height", "width"), [(128, 128), (160, 213), (240, 160)])
def test_boxes_are_distributed_as_torchvisions_are(height: int, width: int) -> None:
    count = 20_000
    corner, extent = random_boxes(
        _sizes(height, width, count), scale=SCALE, ratio=RATIO, generator=_rng()
    )
    ours = torch.cat([corner, extent], dim=1).double()
    torch.manual_seed(1)
    image = torch.empty(3, height, width)
    theirs = torch.tensor(
        [RandomResizedCrop.get_params(image, list(SCALE), list(RATIO)) for _ in range(4000)]
    ).double()
    tolerance = 5 * theirs.std(dim=0) / math.sqrt(len(theirs))
    assert ((ours.mean(dim=0) - theirs.mean(dim=0)).abs() < tolerance).all()
    assert torch.allclose(ours.std(dim=0), theirs.std(dim=0), rtol=0.05)
    sides, their_sides = (
        (boxes[:, 2:].prod(dim=1) / (height * width)).sqrt().mean().item()
        for boxes in (ours, theirs)
    )
    assert sides == pytest.approx(their_sides, abs=0.02)


def test_the_mean_side_of_boxes_of_a_square_image_is_known() -> None:
    """0.668 of the side, not the 0.708 that the uniform area alone would give."""
    sizes = _sizes(500, 500, 40_000)
    _, extent = random_boxes(sizes, scale=SCALE, ratio=RATIO, generator=_rng())
    assert (extent.prod(dim=1) / 250_000).sqrt().mean() == pytest.approx(0.668, abs=0.004)


@pytest.mark.parametrize(
    ("height", "width", "box"), [(10, 1000, (0, 493, 10, 13)), (1000, 10, (493, 0, 13, 10))]
)
def test_what_never_fits_falls_back_to_a_central_box(
    height: int, width: int, box: tuple[int, ...]
) -> None:
    corner, extent = random_boxes(
        _sizes(height, width, 50), scale=(1.0, 1.0), ratio=RATIO, generator=_rng()
    )
    expected = torch.tensor([box]).expand(50, 4)
    assert (torch.cat([corner, extent], dim=1) - expected).abs().max() <= 1  # 493.5, either way
    assert (extent == expected[:, 2:]).all()


def test_a_whole_square_is_its_own_only_box() -> None:
    corner, extent = random_boxes(
        _sizes(32, 32, 9), scale=(1.0, 1.0), ratio=(1.0, 1.0), generator=_rng()
    )
    assert (corner == 0).all()
    assert (extent == 32).all()


def test_central_squares_are_as_large_as_they_can_be() -> None:
    corner, extent = central_squares(torch.tensor([[10, 20], [21, 10], [5, 5]]))
    assert corner.tolist() == [[0, 5], [5, 0], [0, 0]]
    assert extent.tolist() == [[10, 10], [10, 10], [5, 5]]


def test_padded_crops_reach_every_offset_equally_often() -> None:
    config = AugmentConfig(crop="pad")
    views = training_views(_sizes(32, 32, 18_000), augment=config, resolution=32, generator=_rng())
    for axis in (0, 1):
        counts = torch.bincount(views.offset[:, axis] + 4, minlength=9)
        assert len(counts) == 9
        assert ((counts - 2000).abs() < 250).all()  # 5.9 standard deviations


@pytest.mark.parametrize(("flip", "share"), [(True, 0.5), (False, 0.0)])
def test_half_are_mirrored_if_any(flip: bool, share: float) -> None:
    config = AugmentConfig(crop="none", flip=flip)
    views = training_views(_sizes(32, 32, 10_000), augment=config, resolution=32, generator=_rng())
    assert views.mirrored.double().mean() == pytest.approx(share, abs=0.025)


@pytest.mark.parametrize("crop", ["none", "pad", "random-resized"])
def test_the_same_generator_draws_the_same_views(crop: str) -> None:
    config = AugmentConfig(crop=crop)  # type: ignore[arg-type]
    first, second = (
        training_views(_sizes(40, 60, 64), augment=config, resolution=32, generator=_rng(7))
        for _ in range(2)
    )
    assert list(first.rows()) == list(second.rows())


@pytest.mark.parametrize(
    ("height", "width", "resized", "offset"),
    [
        (160, 240, (146, 219), (9, 46)),
        (240, 160, (219, 146), (46, 9)),
        (128, 128, (146, 146), (9, 9)),
        (500, 333, (219, 146), (46, 9)),
    ],
)
def test_evaluation_resizes_the_shorter_side_also_of_upright_images(
    height: int, width: int, resized: tuple[int, int], offset: tuple[int, int]
) -> None:
    views = evaluation_views(torch.tensor([[height, width]]), resolution=128, crop_fraction=0.875)
    assert tuple(views.resized[0].tolist()) == resized
    assert tuple(views.offset[0].tolist()) == offset


@pytest.mark.parametrize(
    ("resolution", "short_side"), [(224, 256), (32, 37), (320, 366), (384, 439), (480, 549)]
)
def test_the_resized_side_is_rounded_not_cut(resolution: int, short_side: int) -> None:
    views = evaluation_views(torch.tensor([[640, 480]]), resolution=resolution, crop_fraction=0.875)
    assert views.resized[0, 1] == short_side
