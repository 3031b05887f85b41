"""From a configuration to a network."""

from collections.abc import Callable
from typing import Any

from torch import nn

from trainer.config import ModelConfig
from trainer.models.efficientnet import efficientnet
from trainer.models.resnet import resnet
from trainer.models.wide_resnet import wide_resnet

BUILDERS: dict[str, Callable[[Any], nn.Module]] = {
    "efficientnet": efficientnet,
    "wide-resnet": wide_resnet,
    "resnet": resnet,
}
"""One entry for each `family` a configuration can have; a builder takes that family's alone."""


def build(config: ModelConfig) -> nn.Module:
    """The network described by `config`, on the CPU (or the device in context), initialised.

    Weights come from torch's global generator: seed it first for the same ones.
    """
    return BUILDERS[config.family](config)
