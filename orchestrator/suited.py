"""What suits a data set where the user does not say: baseline, resolution, recipe, seeds."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from search_spaces.compound_scaling import Baseline
from trainer.config import DataConfig, OptimConfig, ScheduleConfig, Strict, TrainConfig
from trainer.data.decoded import DecodedSet
from trainer.data.defaults import SMALL_SIDE, default_augment
from trainer.data.sources import DIGITS
from trainer.models.children import child as named_child
from trainer.models.rounding import Number
from trainer.precision import execution_for

LARGEST_RESOLUTION = 224


@dataclass(frozen=True, slots=True, kw_only=True)
class Suited(Strict):
    """Defaults for one data set."""

    baseline: Baseline
    recipe: TrainConfig
    seeds: int
    """Runs behind the mean of a finalist."""


def suited(
    dataset: str,
    decoded: DecodedSet,
    *,
    device: str,
    num_classes: int | None = None,
    baseline: str | None = None,
    width: Number | None = None,
    resolution: int | None = None,
) -> Suited:
    """Defaults from the name, the images' usual size and the device; what is given is kept."""
    side = decoded.typical_short_side
    small = side < SMALL_SIDE
    usual = "efficientnet-b0-small" if small else "efficientnet-b0"
    ours = baseline in (None, usual)
    start = Baseline.of(
        baseline or usual,
        num_classes=num_classes or decoded.num_classes,
        resolution=resolution or (_resolution(side, small=small) if ours else None),
        width=width or (_WIDTHS.get(dataset, _SMALL_WIDTH) if ours and small else 1),
    )
    recipe = TrainConfig(
        model=start.config.with_(dropout=0.1, stochastic_depth=0.1),
        data=DataConfig(dataset=dataset),
        augment=default_augment(dataset, typical_short_side=side),
        optim=OptimConfig(lr=0.4, weight_decay=1e-4),
        schedule=ScheduleConfig(kind="cosine", warmup_epochs=2),
        execution=execution_for(start.config.family, device),
        epochs=30 if small else 50,
        batch_size=64,
        label_smoothing=0.1,
        ema_decay=0.99,
    )
    if dataset == DIGITS:
        recipe = _for_minutes(recipe)
    return Suited(baseline=start, recipe=recipe, seeds=3)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuitedChild(Strict):
    """Defaults for the network that judges augmentation policies."""

    recipe: TrainConfig
    train_images: int
    """The most that a child learns from."""
    seeds: int
    """Runs behind the mean of an arm of the verdict."""


def suited_child(
    dataset: str,
    decoded: DecodedSet,
    *,
    device: str,
    num_classes: int | None = None,
    child: str | None = None,
    resolution: int | None = None,
) -> SuitedChild:
    """Defaults for a policy search: the paper's child on a GPU, a small one on a CPU.

    The proxies are AutoAugment's (Cubuk 2019, arXiv:1805.09501, §4): WRN-40-2, 4,000 images, 120
    epochs, small images. On a CPU the network has a hundredth of the multiply-adds and sees 24 px,
    so that 60 children of 540 images, as many random ones and the verdict take minutes.
    """
    fits = suited(dataset, decoded, device=device, num_classes=num_classes)
    small = decoded.typical_short_side < SMALL_SIDE
    on_gpu = device == "cuda"
    sides = (32, 64) if on_gpu else (24, 32)
    model = named_child(
        child or (CHILD if on_gpu else CPU_CHILD),
        num_classes=num_classes or decoded.num_classes,
        resolution=resolution or sides[not small],
    )
    recipe = fits.recipe.with_(
        model=model,
        optim=OptimConfig(lr=0.2, weight_decay=5e-4),
        schedule=ScheduleConfig(kind="cosine", warmup_epochs=1),
        execution=execution_for(model.family, device),
        epochs=120 if on_gpu else 12,
        batch_size=128 if on_gpu else 32,
        label_smoothing=0.0,
        ema_decay=0.0,
    )
    return SuitedChild(recipe=recipe, train_images=4000 if on_gpu else 1000, seeds=5)


CHILD = "wrn-40-2"
CPU_CHILD = "wrn-10-0.5"
_SMALL_WIDTH = Fraction(1, 2)
_WIDTHS = {DIGITS: Fraction(3, 16)}
"""Of the small baseline; the digits' is chosen so that the demonstration fits its minutes."""


def _for_minutes(recipe: TrainConfig) -> TrainConfig:
    """A recipe for some 170 steps on a thousand images: nothing that slows learning down.

    Measured on the digits in 6 epochs: 97 %; with padded crops 92 to 97 %, with weights averaged
    over 100 steps 88 %.
    """
    return recipe.with_(
        model=recipe.model.with_(dropout=0.0, stochastic_depth=0.0),
        augment=recipe.augment.with_(crop="none"),
        optim=recipe.optim.with_(lr=0.6),
        schedule=recipe.schedule.with_(warmup_epochs=1),
        epochs=5,
        batch_size=32,
        label_smoothing=0.0,
        ema_decay=0.95,
    )


def _resolution(side: int, *, small: bool) -> int:
    """Small images at 32 px, others at the multiple of 32 at or below their usual short side."""
    return 32 if small else min(side // 32 * 32, LARGEST_RESOLUTION)
