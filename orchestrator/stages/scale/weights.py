"""A family, or one network, that begins from weights: what fits, what is new, what is frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.weights import Pretrained, frozen_parts
from search_spaces.family_tables import Size
from trainer.complexity import count
from trainer.config import EfficientNetConfig, InitialWeights, TrainConfig
from trainer.errors import ConfigError

GENTLER = 10
"""Weights that are worth something are left slowly: the usual peak learning rate over this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenNetwork:
    """A network that some weights are of, in place of a baseline that is scaled."""

    name: str
    config: EfficientNetConfig

    def to_json(self) -> dict[str, Any]:
        """The `baseline` object of a plan, its cost included."""
        cost = count(self.config)
        return {
            "name": self.name,
            "width": 1.0,
            "depth": 1.0,
            "stem_stride": self.config.stem_stride,
            "resolution": self.config.resolution,
            "params": cost.params,
            "macs": cost.macs,
        }


def given_sizes(network: GivenNetwork, *, control: bool) -> list[Size]:
    """The network itself; beside it, as a control, the same to be trained from nothing."""
    itself = Size(
        name=network.name,
        mode="given",
        phi=None,
        depth=Fraction(1),
        width=Fraction(1),
        config=network.config,
        cost=count(network.config),
        macs_ratio=1.0,
        beside=network.name,
        distance=0.0,
    )
    alone = itself.with_(name=f"{network.name} from nothing", mode="from-nothing")
    return [itself, alone] if control else [itself]


def keeps_head(weights: Pretrained, class_names: tuple[str, ...]) -> bool:
    """Whether the classifier says what this data set asks: the same classes in the same order."""
    return bool(weights.class_names) and weights.class_names == class_names


def beginning_from(
    recipe: TrainConfig,
    weights: Pretrained,
    *,
    class_names: tuple[str, ...],
    freeze: str,
    own_lr: bool,
) -> TrainConfig:
    """The recipe for training on from weights: their normalisation, a gentler rate, what is frozen.

    Args:
        recipe: For training from nothing.
        weights: What it begins from.
        class_names: Of the data set.
        freeze: As `--freeze` has it.
        own_lr: The user has set the learning rate.

    Raises: ConfigError.
    """
    optim = recipe.optim
    return recipe.with_(
        initial=InitialWeights(
            digest=weights.digest,
            keep_head=keeps_head(weights, class_names),
            frozen=frozen_parts(freeze, weights.efficientnet),
        ),
        data=recipe.data.with_(mean=weights.mean, std=weights.std),
        optim=optim if own_lr else optim.with_(lr=optim.lr / GENTLER),
    )


def check_fit(
    name: str, model: EfficientNetConfig, weights: Pretrained, *, keep_head: bool
) -> None:
    """Refuse weights of another network than the member. Raises: UsageError."""
    import torch

    from trainer.models.build import build
    from trainer.transfer import require_fit

    with torch.device("meta"):
        network = build(model)
    try:
        require_fit(network, weights.weights, keep_head=keep_head)
    except ConfigError as error:
        why = str(error).removeprefix("weights: they do not fit the network: ")
        raise UsageError(
            f"--weights: {weights.asked} does not fit {name}: {why}; leave out the size "
            "(--coefficients, --from, --published) to train the network that the weights are of"
        ) from error


def record(weights: Pretrained, train: TrainConfig) -> Mapping[str, Any]:
    """For the record."""
    assert train.initial is not None
    return {
        "from": weights.asked,
        "network": weights.name,
        "digest": weights.digest,
        "head": "kept" if train.initial.keep_head else "new",
        "frozen_parts": train.initial.frozen,
    }
