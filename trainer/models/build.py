"""From a configuration to a network."""

from collections.abc import Callable

from torch import nn

from trainer.config import ModelConfig
from trainer.models.efficientnet import efficientnet

BUILDERS: dict[str, Callable[[ModelConfig], nn.Module]] = {
    "efficientnet": efficientnet,
}
"""One entry for each `family` a configuration can have."""


def build(config: ModelConfig) -> nn.Module:
    """The network described by `config`, on the CPU (or the device in context), initialised.

    Weights come from torch's global generator: seed it first for the same ones.
    """
    return BUILDERS[config.family](config)
