import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from trainer.config import AugmentConfig
from trainer.data import rendering
from trainer.data.decoded import DecodedSet
from trainer.data.rendering import one_by_one, render, resample, shifted
from trainer.data.views import Views, evaluation_views, training_views

CPU = torch.device("cpu")
CROPS = ("none", "pad", "random-resized")


def _noise(count: int, height: int, width: int) -> Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, height, width, 3), generator=rng, dtype=torch.uint8)


def _views(sizes: Tensor, crop: str, resolution: int) -> Views:
    config = AugmentConfig(crop=crop)  # type: ignore[arg-type]
    rng = torch.Generator().manual_seed(1)
    return training_views(sizes, augment=config, resolution=resolution, generator=rng)


def _sizes(images: Tensor) -> Tensor:
    return torch.tensor(images.shape[1:3]).expand(len(images), 2)


def _difference(left: Tensor, right: Tensor) -> int:
    assert left.shape == right.shape
    assert left.dtype == right.dtype == torch.uint8
    return int((left.int() - right.int()).abs().max())


@pytest.mark.parametrize("resolution", [24, 32, 80])
@pytest.mark.parametrize("crop", CROPS)
def test_products_show_what_torchvision_shows_image_by_image(crop: str, resolution: int) -> None:
    images = _noise(40, 48, 40)
    views = _views(_sizes(images), crop, resolution)
    seen = resample(images, views, resolution=resolution)
    padding = resolution // 8
    for place, view in enumerate(views.rows()):
        box = images[place].permute(2, 0, 1)
        top, left = view.corner
        size = [resolution, resolution]
        expected = tv.resized_crop(box, top, left, *view.extent, size=size, antialias=True)
        expected = F.pad(expected, [padding] * 4)
        top, left = (offset + padding for offset in view.offset)
        expected = tv.crop(expected, top, left, resolution, resolution)
        if view.mirrored:
            expected = tv.horizontal_flip(expected)
        assert _difference(seen[place], expected.permute(1, 2, 0)) <= 1


def test_shifting_is_resampling_without_arithmetic() -> None:
    images = _noise(64, 32, 32)
    views = _views(_sizes(images), "pad", 32)
    assert torch.equal(shifted(images, views), resample(images, views, resolution=32))


def test_a_view_of_everything_is_the_image() -> None:
    images = _noise(3, 20, 20)
    views = evaluation_views(_sizes(images), resolution=20, crop_fraction=1.0)
    assert torch.equal(resample(images, views, resolution=20), images)
    assert torch.equal(shifted(images, views), images)


def test_a_batch_is_the_same_in_one_part_or_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    images = _noise(10, 16, 16)
    views = _views(_sizes(images), "random-resized", 16)
    whole = resample(images, views, resolution=16)
    monkeypatch.setattr(rendering, "CPU_PART", 3)
    assert _difference(resample(images, views, resolution=16), whole) <= 1


@pytest.mark.parametrize("crop", CROPS)
def test_the_ways_through_agree(ragged: DecodedSet, crop: str) -> None:
    indices = torch.randperm(32, generator=torch.Generator().manual_seed(0)).numpy()
    views = _views(torch.from_numpy(ragged.sizes[indices].astype("int64")), crop, 56)
    alone = one_by_one(ragged, indices, views, resolution=56)
    stacked, boxed = rendering._boxes(ragged, indices, views)
    together = resample(torch.from_numpy(stacked), boxed, resolution=56)
    assert _difference(alone, together) <= 2
    assert torch.equal(render(ragged, indices, views, resolution=56, device=CPU), alone)


def test_autocast_around_the_loop_does_not_coarsen_the_pixels() -> None:
    images = _noise(4, 20, 20)
    views = _views(_sizes(images), "random-resized", 20)
    plain = resample(images, views, resolution=20)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(resample(images, views, resolution=20), plain)


@pytest.mark.parametrize("resolution", [32, 56, 112])
def test_evaluation_shows_what_resize_and_centre_crop_show(
    ragged: DecodedSet, resolution: int
) -> None:
    indices = torch.arange(8).numpy()
    sizes = torch.from_numpy(ragged.sizes[indices].astype("int64"))
    views = evaluation_views(sizes, resolution=resolution, crop_fraction=0.875)
    seen = render(ragged, indices, views, resolution=resolution, device=CPU)
    transform = v2.Compose(
        [
            v2.Resize(int(resolution / 0.875 + 0.5), antialias=True),
            v2.CenterCrop(resolution),
        ]
    )
    for place, index in enumerate(indices):
        image = torch.from_numpy(ragged.images[index].copy()).permute(2, 0, 1)
        assert _difference(seen[place], transform(image).permute(1, 2, 0)) <= 1


@pytest.mark.parametrize(("side", "worth"), [(256, True), (1024, False)])
def test_a_batch_of_large_photographs_is_not_sent_whole(
    ragged: DecodedSet, side: int, worth: bool
) -> None:
    views = evaluation_views(torch.full((128, 2), side), resolution=224, crop_fraction=0.875)
    gpu = torch.device("cuda")
    assert rendering._worth_stacking(ragged, views, resolution=224, device=gpu) is worth


@pytest.mark.gpu
@pytest.mark.parametrize("crop", CROPS)
def test_a_gpu_shows_what_a_cpu_shows(ragged: DecodedSet, crop: str) -> None:
    indices = torch.arange(32).numpy()
    views = _views(torch.from_numpy(ragged.sizes[indices].astype("int64")), crop, 56)
    here, there = (
        render(ragged, indices, views, resolution=56, device=torch.device(device)).cpu()
        for device in ("cpu", "cuda")
    )
    assert _difference(here, there) <= 2
