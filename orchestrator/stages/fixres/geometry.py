"""How large objects look in training and in testing, at the resolutions of a plan."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from trainer.config import AugmentConfig
from trainer.preprocessing import preprocessing

if TYPE_CHECKING:
    from orchestrator.stages.fixres.plan import Network
    from trainer.data.splits import Splits

FACTORS = (0.75, 1.0, 1.25, 1.5)
"""Of the train resolution: what is swept where the user names no resolutions."""
SAMPLED_WITH = 0
"""Seed of the crops that are drawn."""
WHOLE = (1.0, 1.0)


def usual_sides(
    augment: AugmentConfig, *, train_resolution: int, crop_fraction: float, total_stride: int
) -> tuple[int, ...]:
    """Test resolutions from 0.75 to 1.5 times the train resolution, it and the one at which
    objects look as large as in training among them.

    All but the train resolution are multiples of the total stride, the nearest ones, halves away
    from the train resolution: between two multiples the pooled map does not grow.
    """
    from trainer.fixres.geometry import equalising_resolution

    equal = equalising_resolution(
        _scale(augment), train_resolution=train_resolution, crop_fraction=crop_fraction
    )
    wanted = [*(factor * train_resolution for factor in FACTORS if factor != 1), equal]
    rounded = {_rounded(side, total_stride, away_from=train_resolution) for side in wanted}
    return tuple(sorted({train_resolution, *rounded}))


def explained(network: Network, splits: Splits) -> dict[str, Any]:
    """The geometry of one network on the data set at hand, as plain JSON."""
    import torch

    from trainer.fixres.geometry import equalising_resolution, expected_ratio, sampled_ratio

    train, side = network.runs[0].train, network.train_resolution
    fraction = network.tuning.crop_fraction
    here = preprocessing(side, crop_fraction=fraction)
    scale = _scale(train.augment)
    subset = splits.train
    sampled = sampled_ratio(
        torch.from_numpy(subset.decoded.sizes[subset.indices].astype("int64")),
        train.augment,
        train_resolution=side,
        short_side=here.short_side,
        generator=torch.Generator().manual_seed(SAMPLED_WITH),
    )
    closed = expected_ratio(scale, train_resolution=side, short_side=here.short_side)
    equal = equalising_resolution(scale, train_resolution=side, crop_fraction=fraction)
    # The sampled ratio goes with the resized side, as the closed one does.
    equal_here = side * fraction * here.short_side / (sampled * side)
    return {
        "name": network.name,
        "train_resolution": side,
        "crop": train.augment.crop,
        "crop_fraction": fraction,
        "short_side": here.short_side,
        "total_stride": network.model.total_stride,
        "closed_form_ratio": closed,
        "sampled_ratio": sampled,
        "equalising_resolution": equal,
        "sampled_equalising_resolution": equal_here,
        "resolutions": list(
            _at_each(network, splits, closed / here.short_side, sampled / here.short_side)
        ),
    }


def _at_each(
    network: Network, splits: Splits, closed: float, sampled: float
) -> Iterator[dict[str, Any]]:
    """Each test resolution; the two ratios are per pixel of the resized side."""
    from trainer.fixres.geometry import map_sides
    from trainer.fixres.sweep import enlarged_share

    for side in network.resolutions:
        seen = preprocessing(side, crop_fraction=network.tuning.crop_fraction)
        maps = map_sides(network.model, side)
        yield {
            "resolution": side,
            "is_train": side == network.train_resolution,
            "short_side": seen.short_side,
            "closed_form_ratio": closed * seen.short_side,
            "sampled_ratio": sampled * seen.short_side,
            "map_sides": list(maps),
            "pooled_side": maps[-1],
            "enlarged": enlarged_share(splits.selection, seen.short_side),
        }


def _scale(augment: AugmentConfig) -> tuple[float, float]:
    """The share of the image's area that is seen in training; all of it without such crops."""
    return augment.scale if augment.crop == "random-resized" else WHOLE


def _rounded(side: float, stride: int, *, away_from: int) -> int:
    whole, rest = divmod(side, stride)
    up = rest > stride / 2 or (rest == stride / 2 and side > away_from)
    return max(int(whole) + up, 1) * stride
