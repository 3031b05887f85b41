"""How well a trained model does on images that a policy has changed (density matching).

Lim 2019, arXiv:1905.00397, §3.2: a policy is good if what it makes of held-out images still looks
to the model like the images it was trained on.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from trainer.augment.policy import AnyPolicy
from trainer.config import TrainConfig
from trainer.data.batches import augmented_batches
from trainer.data.splits import Subset
from trainer.evaluate import Scores, Tally, evaluating, predict
from trainer.seeding import own_threads


def density_scores(
    model: nn.Module,
    subset: Subset,
    policy: AnyPolicy,
    *,
    config: TrainConfig,
    draws: int,
    device: torch.device,
    should_stop: Callable[[], bool] = lambda: False,
) -> Scores | None:
    """The model's scores over `draws` augmented copies of every image; None if it was stopped.

    Args:
        model: On the device; it is evaluated.
        subset: What the model was not trained on.
        policy: What is done to the images.
        config: How the model was trained.
        draws: Copies of an image; scores are means over all of them.
        device: Where to compute.
        should_stop: Asked before each batch.
    """
    tally = Tally(config.model.num_classes)
    batches = augmented_batches(
        subset,
        policy=policy,
        draws=draws,
        resolution=config.model.resolution,
        batch_size=config.batch_size,
        device=device,
        channels_last=config.execution.channels_last,
    )
    with own_threads(config.execution.threads), evaluating(model):
        for batch in batches:
            if should_stop():
                return None
            logits = predict(model, batch.images, execution=config.execution)
            tally.add(logits, batch.labels)
    return tally.scores()
