"""How the weights of residual networks start."""

from torch import nn

from trainer.models.init import init_as_wide_resnet
from trainer.models.resnet_parts.block import ResidualBlock
from trainer.resnet_config import ResNetConfig


def init_resnet(network: nn.Module, config: ResNetConfig) -> None:
    """Draw the weights in place; then silence the residual branches if zero γ is configured.

    `he`: convolutions from N(0, 2/fan_out) with fan_out = k²·C_out (He 2015, arXiv:1502.01852),
    the classifier from torch's own U(±1/√inputs). `xavier`: both from U(±√(6/(d_in + d_out)))
    (Glorot 2010; Bag of Tricks, arXiv:1812.01187, §2.1). Biases at 0, γ = 1, β = 0.
    """
    if config.init == "he":
        init_as_wide_resnet(network)
    else:
        _init_as_xavier(network)
    if config.zero_gamma:
        zero_gammas(network)


def zero_gammas(network: nn.Module) -> None:
    """Set γ = 0 in the last batch norm of each residual branch and nowhere else, in place."""
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            assert isinstance(module.last_norm, nn.BatchNorm2d)
            nn.init.zeros_(module.last_norm.weight)


def _init_as_xavier(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
