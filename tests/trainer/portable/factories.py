"""Models of a few thousand weights, as others would be given them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tests.trainer.factories import tiny_model
from trainer.config import ModelConfig
from trainer.models.build import build
from trainer.portable.files import PortableModel
from trainer.portable.recipe import ModelRecipe
from trainer.preprocessing import preprocessing


def a_recipe(model: ModelConfig | None = None, **changes: Any) -> ModelRecipe:
    """The recipe of a tiny network, with something in every field."""
    model = model or tiny_model()
    recipe = ModelRecipe(
        name="B1",
        model=model,
        class_names=tuple(f"class {number}" for number in range(model.num_classes)),
        preprocessing=preprocessing(model.resolution, crop_fraction=0.875),
        mean=(0.5, 0.25, 0.125),
        std=(0.25, 0.5, 0.75),
        train={"epochs": 3},
        scores={"split": "reporting", "top1": 0.5, "num_images": 72},
        origin={"trial": "0123abcd", "seed": 0},
    )
    return recipe.with_(**changes)


def a_model(model: ModelConfig | None = None, *, seed: int = 0, **changes: Any) -> PortableModel:
    """A network with weights drawn from the seed, which has seen a few images of noise."""
    recipe = a_recipe(model, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(recipe.model)
        see_noise(network, resolution=recipe.model.resolution)
    return PortableModel(recipe=recipe, weights=network.state_dict())


@torch.no_grad()
def see_noise(network: nn.Module, *, resolution: int) -> None:
    """Give batch norm the statistics of some images.

    With those it starts with, signals die out on their way and hide mistakes; with statistics that
    are nobody's they explode, and the last digits with them.
    """
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    momentum = {part: part.momentum for part in norms}
    for part in norms:
        part.weight.uniform_(0.5, 1.5)
        part.bias.normal_(0, 0.2)
        part.momentum = None  # the mean of what it sees
    network.train()
    network(torch.randn(8, 3, resolution, resolution))
    for part, usual in momentum.items():
        part.momentum = usual
    network.eval()
