"""From a trained network to the files that others can use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from trainer.config import TrainConfig
from trainer.data.defaults import default_crop_fraction
from trainer.data.splits import Subset
from trainer.portable.files import PortableModel
from trainer.portable.recipe import ModelRecipe
from trainer.preprocessing import preprocessing


def portable(
    network: nn.Module,
    config: TrainConfig,
    seen: Subset,
    *,
    name: str,
    scores: Mapping[str, Any],
    origin: Mapping[str, Any],
) -> PortableModel:
    """The network as its run evaluated it.

    Args:
        network: With the weights to keep.
        config: How it was trained.
        seen: Images of the data set that it was trained on, any of them.
        name: What to call it.
        scores: How good it is, and on what.
        origin: Where it comes from.
    """
    fraction = config.test_crop_fraction
    if fraction is None:
        fraction = default_crop_fraction(seen.decoded.typical_short_side)
    recipe = ModelRecipe(
        name=name,
        model=config.model,
        class_names=seen.decoded.class_names,
        preprocessing=preprocessing(config.evaluated_at, crop_fraction=fraction),
        mean=seen.statistics.mean,
        std=seen.statistics.std,
        train=config.to_json(),
        scores=scores,
        origin=origin,
    )
    weights = {name: weight.detach().cpu().clone() for name, weight in network.state_dict().items()}
    return PortableModel(recipe=recipe, weights=weights)
