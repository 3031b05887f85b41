"""What fine-tuning is fed with: features kept from one pass, or computed at each step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Protocol

import torch
from torch import nn

from trainer.data.batches import Batch, epoch_generator, steps_per_epoch, viewed_batches
from trainer.data.decoded import Indices
from trainer.data.splits import Subset
from trainer.fixres.anatomy import Link, dissect
from trainer.fixres.config import FixResConfig
from trainer.fixres.features import (
    Features,
    Plan,
    Storage,
    compute_features,
    frozen_features,
    plan_features,
)
from trainer.fixres.views import centred, draw_mirrored, jitter, tuning_views


class Material(Protocol):
    """Batches of features, which are what the frozen part makes of images."""

    def prepare(self) -> Iterator[int]:
        """Do what is done once; yields how many views are done so far."""

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The features of the training images, shuffled and varied.

        As in training, all that is random depends on (seed, epoch) alone, and an incomplete last
        batch is left out unless it is the only one.
        """

    def held_out(self) -> Iterator[Batch]:
        """The features of the images that are evaluated, in order, as test images are seen."""


def choose_material(
    network: nn.Module,
    config: FixResConfig,
    *,
    train: Subset,
    held_out: Subset,
    storage: Storage,
    device: torch.device,
) -> Material:
    """Kept features where the augmentation and the limits allow that."""
    views = len(train) * (2 if config.flip else 1) + len(held_out)
    plan = plan_features(dissect(network), config, images=views, device=device)
    if plan is None:
        return Passing(network, config, train=train, held_out=held_out, device=device)
    return Kept(
        network, config, plan, train=train, held_out=held_out, storage=storage, device=device
    )


class Passing:
    """The frozen part is run at each step, without gradients."""

    def __init__(
        self,
        network: nn.Module,
        config: FixResConfig,
        *,
        train: Subset,
        held_out: Subset,
        device: torch.device,
    ) -> None:
        anatomy = dissect(network)
        self._links = anatomy.links[: anatomy.cut]
        self._config = config
        self._train = train
        self._held_out = held_out
        self._batches = partial(
            viewed_batches,
            resolution=config.test_resolution,
            batch_size=config.batch_size,
            device=device,
            channels_last=config.source.execution.channels_last,
        )

    def prepare(self) -> Iterator[int]:
        """Nothing is done once."""
        return iter(())

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """See `Material`."""
        config = self._config
        view_rng = epoch_generator(config.seed, epoch, "views")
        color_rng = epoch_generator(config.seed, epoch, "policy")
        order = self._train.indices[_order(config, len(self._train), epoch)]
        batches = self._batches(
            self._train,
            order,
            draw=partial(tuning_views, config=config, generator=view_rng),
            vary=lambda pixels: (
                jitter(pixels, generator=color_rng) if config.augmentation == "v2" else pixels
            ),
        )
        return self._features(batches)

    def held_out(self) -> Iterator[Batch]:
        """See `Material`."""
        indices = self._held_out.indices
        return self._features(self._batches(self._held_out, indices, draw=centred(self._config)))

    def _features(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        return (_featured(self._links, batch, self._config) for batch in batches)


class Kept:
    """The frozen part was run once, up to where its features are small enough to be kept."""

    def __init__(
        self,
        network: nn.Module,
        config: FixResConfig,
        plan: Plan,
        *,
        train: Subset,
        held_out: Subset,
        storage: Storage,
        device: torch.device,
    ) -> None:
        anatomy = dissect(network)
        links = anatomy.links[: plan.cut]
        self._rest = anatomy.links[plan.cut : anatomy.cut]
        self._config = config
        self._compute = partial(
            compute_features, links, plan=plan, config=config, storage=storage, device=device
        )
        self._subsets = {"train": train, "held_out": held_out}
        self._features: dict[str, Features] = {}

    def prepare(self) -> Iterator[int]:
        """Run the frozen part."""
        done = 0
        for name, subset in self._subsets.items():
            mirrored = self._config.flip and name == "train"
            progress = 0
            for item in self._compute(subset, mirrored=mirrored):
                if isinstance(item, Features):
                    self._features[name] = item
                else:
                    progress = item
                    yield done + progress
            done += progress

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """See `Material`."""
        config, features = self._config, self._features["train"]
        view_rng = epoch_generator(config.seed, epoch, "views")
        order = torch.from_numpy(_order(config, len(features), epoch))
        for places in torch.split(order, config.batch_size):
            mirrored = draw_mirrored(len(places), config=config, generator=view_rng)
            yield _featured(self._rest, features.at(places, mirrored), config)

    def held_out(self) -> Iterator[Batch]:
        """See `Material`."""
        features = self._features["held_out"]
        for places in torch.split(torch.arange(len(features)), self._config.batch_size):
            batch = features.at(places, torch.zeros(len(places), dtype=torch.bool))
            yield _featured(self._rest, batch, self._config)


def _featured(links: tuple[Link, ...], batch: Batch, config: FixResConfig) -> Batch:
    features = frozen_features(links, batch.images, execution=config.source.execution)
    return Batch(images=features, labels=batch.labels)


def _order(config: FixResConfig, count: int, epoch: int) -> Indices:
    """Places of the training images in an epoch, those left out in the end cut off."""
    generator = epoch_generator(config.seed, epoch, "order")
    seen = steps_per_epoch(count, config.batch_size) * config.batch_size
    places: Indices = torch.randperm(count, generator=generator).numpy()[:seen]
    return places
