"""A model's answers to pictures, prepared just as the trainer evaluates them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.data.batches import normalise
from trainer.data.decoded import DecodedSet, MappedImages
from trainer.data.rendering import render
from trainer.data.splits import ChannelStatistics
from trainer.data.views import evaluation_views
from trainer.evaluate import predict
from trainer.portable.recipe import ModelRecipe

BATCH_PIXELS = 64 * 224**2
"""Of the images that a network sees at a time; their activations take hundreds of times that."""

LARGEST_BATCH = 64
"""Pictures that are held decoded at a time."""

_FIRST = np.zeros(1, np.int64)


def prepare(pixels: NDArray[np.uint8], recipe: ModelRecipe, *, device: torch.device) -> Tensor:
    """One picture, uint8 (H, W, 3), as the network sees it: float32 (1, 3, R, R).

    Pictures are prepared one by one, so that none depends on the sizes of those beside it.
    """
    seen = recipe.preprocessing
    views = evaluation_views(
        torch.tensor([pixels.shape[:2]]),
        resolution=seen.resolution,
        crop_fraction=seen.crop_fraction,
    )
    shown = render(_alone(pixels), _FIRST, views, resolution=seen.resolution, device=device)
    statistics = ChannelStatistics(mean=recipe.mean, std=recipe.std)
    return normalise(shown, statistics, channels_last=False)


def logits(
    network: nn.Module,
    recipe: ModelRecipe,
    pictures: Iterable[NDArray[np.uint8]],
    *,
    device: torch.device,
) -> Tensor:
    """The network's answers (N, K) to pictures (H, W, 3) of any sizes; float32, on the CPU.

    Pictures are taken from the iterable as they are needed, and not kept.
    """
    fitting = BATCH_PIXELS // recipe.preprocessing.resolution**2
    rest = iter(pictures)
    answers = [torch.empty(0, recipe.model.num_classes)]
    while batch := list(islice(rest, max(1, min(LARGEST_BATCH, fitting)))):
        seen = [prepare(pixels, recipe, device=device) for pixels in batch]
        answers.append(predict(network, torch.cat(seen)).cpu())
    return torch.cat(answers)


def _alone(pixels: NDArray[np.uint8]) -> DecodedSet:
    """A set of this picture, as the rendering takes them."""
    sizes = np.array([pixels.shape[:2]], np.int32)
    height, width = pixels.shape[:2]
    return DecodedSet(
        fingerprint="",
        class_names=(),
        splits={},
        labels=np.zeros(1, np.int64),
        sizes=sizes,
        fixed_size=(height, width),
        digests=np.zeros((1, 16), np.uint8),
        moments=np.zeros((1, 2, 3), np.uint64),
        images=MappedImages(np.ascontiguousarray(pixels).reshape(-1), sizes),
        streamed=False,
    )
