import pytest
import torch

from tests.trainer.fixres.factories import adaptation
from trainer.augment.colors import grey_levels
from trainer.data.views import evaluation_views
from trainer.fixres.views import centred, jitter, tuning_views

SIZES = torch.tensor([[60, 80], [80, 60], [60, 60]]).repeat(3000, 1)


def _rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_v1_is_what_a_test_image_shows() -> None:
    views = tuning_views(SIZES, config=adaptation(crop_fraction=0.8), generator=_rng())
    expected = evaluation_views(SIZES, resolution=24, crop_fraction=0.8)
    assert list(views.rows()) == list(expected.rows())


@pytest.mark.parametrize("augmentation", ["v1", "v2"])
@pytest.mark.parametrize(("flip", "share"), [(True, 0.5), (False, 0.0)])
def test_half_are_mirrored_if_any(augmentation: str, flip: bool, share: float) -> None:
    config = adaptation(augmentation=augmentation, flip=flip)
    views = tuning_views(SIZES, config=config, generator=_rng())
    assert views.mirrored.double().mean() == pytest.approx(share, abs=0.03)


def test_v2_moves_the_crop_from_end_to_end_and_never_up_or_down() -> None:
    config = adaptation(augmentation="v2", crop_fraction=0.8)  # of 30 by 40 px, 24 are seen
    views = tuning_views(SIZES, config=config, generator=_rng())
    assert (views.offset[:, 0] == centred(config)(SIZES).offset[:, 0]).all()
    for kind, spare in ((0, 16), (1, 6), (2, 6)):
        counts = torch.bincount(views.offset[kind::3, 1], minlength=spare + 1)
        assert len(counts) == spare + 1
        expected = 3000 / (spare + 1)
        assert ((counts - expected).abs() < 6 * expected**0.5).all()


def test_the_colours_change_by_five_percent_at_most() -> None:
    grey = torch.full((500, 4, 4, 3), 200, dtype=torch.uint8)
    seen = jitter(grey, generator=_rng()).float()
    assert seen.shape == grey.shape
    assert seen.std(dim=(1, 2, 3)).max() == 0  # a grey image has neither contrast nor saturation
    assert 187 <= seen.min() <= 192  # 200·0.95 = 190, fractions dropped at each step
    assert 208 <= seen.max() <= 210


def test_contrast_turns_about_the_mean_of_the_crop() -> None:
    halves = torch.full((400, 4, 4, 3), 50, dtype=torch.uint8)
    halves[:, :2] = 150
    seen = grey_levels(jitter(halves, generator=_rng()).permute(0, 3, 1, 2))
    spread = seen[:, 0, 0] - seen[:, 3, 3]
    assert 88 <= spread.min() < 94  # 100·0.95·0.95 = 90.25; brightness alone would leave 95
    assert 106 < spread.max() <= 111


def test_the_same_generator_varies_alike() -> None:
    images = torch.randint(0, 256, (8, 6, 6, 3), dtype=torch.uint8)
    assert torch.equal(jitter(images, generator=_rng(3)), jitter(images, generator=_rng(3)))
    assert not torch.equal(jitter(images, generator=_rng(3)), jitter(images, generator=_rng(4)))
