"""A few images of a data set, to look at."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from orchestrator.config.common import CommonConfig
from orchestrator.session import cache_root
from orchestrator.suited import suited
from trainer.data.cache import prepare
from trainer.data.rendering import render
from trainer.data.sources import find
from trainer.data.splits import Subset, carve
from trainer.data.views import evaluation_views


def training_images(dataset: str, *, count: int, download: bool = False) -> Tensor:
    """The first training images, their central squares at the resolution that suits the set.

    Args:
        dataset: A name, or the path of an image folder, whose unreadable files are left out.
        count: How many; fewer where the set has no more.
        download: Fetch a named set that is not there.

    Returns:
        uint8 (count, 3, R, R).

    Raises:
        ConfigError: neither a known name nor a folder.
        DatasetError: the set is missing or cannot be read.
    """
    cache = cache_root(CommonConfig(dataset=dataset))
    name = find(dataset, data_root=cache / "downloads").dataset
    decoded = prepare(name, cache_root=cache, download=download, skip_unreadable=True)
    recipe = suited(name, decoded, device="cpu").recipe
    train = carve(decoded, recipe.data).train
    return first_images(train, count=count, resolution=recipe.model.resolution)


def first_images(subset: Subset, *, count: int, resolution: int) -> Tensor:
    """The first images of a subset, their central squares: uint8 (count, 3, R, R).

    Fewer where the subset has no more.
    """
    decoded, first = subset.decoded, subset.indices[:count]
    sizes = torch.from_numpy(decoded.sizes[first].astype(np.int64))
    views = evaluation_views(sizes, resolution=resolution, crop_fraction=1)
    pixels = render(decoded, first, views, resolution=resolution, device=torch.device("cpu"))
    return pixels.permute(0, 3, 1, 2).contiguous()
