"""Hue, saturation, brightness and the noise along the colours' axes."""

from __future__ import annotations

from colorsys import hsv_to_rgb, rgb_to_hsv

import torch

from tests.pictures import pictures
from trainer.augment.apply import apply
from trainer.augment.color_pipeline import ColorDraws, apply_color, draw_color
from trainer.augment.policy import ColorPipeline


def draws(factors: list[float], weights: list[float] | None = None, *, batch: int) -> ColorDraws:
    return ColorDraws(
        factors=torch.tensor(factors, dtype=torch.float64).expand(batch, 3),
        weights=torch.tensor(weights or [0, 0, 0], dtype=torch.float64).expand(batch, 3),
    )


def expected(pixel: list[int], factors: list[float]) -> list[int]:
    """One pixel by the standard library, its hue taken from -1/2 to 1/2."""
    hue, saturation, value = rgb_to_hsv(*(level / 255 for level in pixel))
    hue = hue - 1 if hue > 0.5 else hue
    scaled = (hue * factors[0]) % 1, min(1, saturation * factors[1]), min(1, value * factors[2])
    return [round(255 * level) for level in hsv_to_rgb(*scaled)]


def test_colours_are_scaled_as_the_standard_library_has_them() -> None:
    images = pictures(8, 12, 12)
    for factors in ([0.6, 1.4, 0.8], [1.4, 0.6, 1.4], [1.0, 1.0, 1.0]):
        changed = apply_color(images, draws(factors, batch=8))
        for image, ours in zip(images, changed, strict=True):
            pixels = zip(image.flatten(1).T.tolist(), ours.flatten(1).T.tolist(), strict=True)
            for before, after in pixels:
                near = zip(expected(before, factors), after, strict=True)
                assert all(abs(theirs - ours_) <= 1 for theirs, ours_ in near)


def test_greys_stay_grey() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    changed = apply_color(images, draws([1.3, 1.4, 1.0], batch=1))
    assert changed.equal(images)


def test_the_noise_lies_along_the_first_axis() -> None:
    images = torch.full((1, 3, 2, 2), 100, dtype=torch.uint8)
    changed = apply_color(images, draws([1, 1, 1], [-0.5, 0, 0], batch=1))
    # Half of the first eigenvalue, 55.46, along (-0.5675, -0.5808, -0.5836), turned round.
    assert changed[0, :, 0, 0].tolist() == [116, 116, 116]


def test_without_scaling_and_noise_nothing_changes() -> None:
    images = pictures(8, 16, 16)
    still = ColorPipeline(name="still", low=1, high=1, noise=0)
    assert apply(still, images).equal(images)


def test_factors_are_even_and_weights_normal() -> None:
    drawn = draw_color(ColorPipeline(name="color"), 10_000, torch.Generator().manual_seed(0))
    assert drawn.factors.min() >= 0.6
    assert drawn.factors.max() <= 1.4
    for quarter in range(4):
        low = 0.6 + 0.2 * quarter
        share = ((drawn.factors >= low) & (drawn.factors < low + 0.2)).double().mean(0)
        assert ((share - 0.25).abs() < 0.022).all()  # five standard errors
    assert (drawn.weights.mean(0).abs() < 0.005).all()
    assert ((drawn.weights.std(0) - 0.1).abs() < 0.0036).all()
    assert torch.corrcoef(drawn.factors.T).sub(torch.eye(3)).abs().max() < 0.05
