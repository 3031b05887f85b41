"""Published policies by name."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2

from tests.pictures import pictures
from trainer.augment.apply import apply
from trainer.augment.policy import RandomPolicy, Uniform
from trainer.augment.presets import PRESETS, preset, randaugment, trivialaugment
from trainer.errors import ConfigError


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_changes_a_batch_but_not_its_shape(name: str) -> None:
    images = pictures(16, 32, 32)
    changed = apply(preset(name), images, generator=torch.Generator().manual_seed(0))
    assert changed.shape == images.shape
    assert changed.dtype == torch.uint8
    assert not changed.equal(images)
    assert preset(name).name == name


def test_an_unknown_preset_is_refused_with_the_near_one() -> None:
    with pytest.raises(ConfigError, match=r"Did you mean 'randaugment'\?"):
        preset("rand-augment")


def _space(policy: RandomPolicy) -> dict[str, tuple[tuple[float, ...], bool | None]]:
    return {op.name.replace("-", ""): (op.ends, op.mirrored) for op in policy.operations}


def test_randaugment_has_torchvisions_magnitudes() -> None:
    ours = _space(randaugment(magnitude=9))
    theirs = v2.RandAugment._AUGMENTATION_SPACE
    assert set(ours) == {name.lower() for name in theirs}
    for name, (values, mirrored) in theirs.items():
        ends, sign = ours[name.lower()]
        magnitude = values(31, 331, 331)
        assert sign == mirrored
        if magnitude is not None and name != "Solarize":  # theirs starts at 255: white turns black
            unit = 331 if name.startswith("Translate") else 1
            shift = 1 if name in ("Brightness", "Color", "Contrast", "Sharpness") else 0
            assert (ends[0] - shift) * unit == pytest.approx(float(magnitude[9]), abs=1e-4)
    assert ours["solarize"][0][0] == pytest.approx(256 * 0.7)


def test_trivialaugment_has_torchvisions_wide_ranges() -> None:
    ours = _space(trivialaugment(side=224))
    theirs = v2.TrivialAugmentWide._AUGMENTATION_SPACE
    assert set(ours) == {name.lower() for name in theirs}
    for name, (values, mirrored) in theirs.items():
        ends, sign = ours[name.lower()]
        magnitudes = values(31, 224, 224)
        assert sign == mirrored
        if magnitudes is None or name == "Solarize":
            continue
        unit = 224 if name.startswith("Translate") else 1
        shift = 1 if name in ("Brightness", "Color", "Contrast", "Sharpness") else 0
        span = sorted((float(magnitudes[0]), float(magnitudes[-1])))
        assert [(end - shift) * unit for end in ends] == pytest.approx(span, abs=1e-4)


def test_trivialaugment_draws_one_of_31_magnitudes() -> None:
    ranges = [op.magnitude for op in trivialaugment().operations if op.magnitude is not None]
    assert len(ranges) == 11
    assert all(isinstance(r, Uniform) and r.bins == 31 for r in ranges)
    assert trivialaugment().num_ops == 1


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="magnitude must be within 0 and 30, got 31"):
        randaugment(magnitude=31)
    with pytest.raises(ConfigError, match="side must be at least 32 px, got 16"):
        trivialaugment(side=16)


def test_cutout_covers_a_square_of_half_the_side() -> None:
    images = torch.zeros((200, 3, 32, 32), dtype=torch.uint8)
    covered = (apply(preset("cutout"), images) == 128).sum((-2, -1))
    assert covered.max() == 16 * 16
    assert covered.min() >= 8 * 8  # a centre in the corner leaves a quarter
