"""How weights start."""

import math

from torch import nn


def init_as_tensorflow(network: nn.Module) -> None:
    """Draw the weights as the released EfficientNets do, in place.

    Convolutions from N(0, 2/fan_out), where fan_out = k²·C_out per group: k² for a depthwise one,
    whose outputs each see one channel. torchvision counts k²·C there and starts them √C smaller.
    The classifier from U(±1/√num_classes); biases at 0. Batch norm keeps γ = 1, β = 0.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            _init_convolution(module)
        elif isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.out_features)
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.zeros_(module.bias)


def init_as_wide_resnet(network: nn.Module) -> None:
    """Draw the weights as the released wide residual networks do, in place.

    Convolutions from N(0, 2/fan_out) with fan_out = k²·C_out (He 2015, arXiv:1502.01852, §2.2); the
    classifier from torch's own U(±1/√inputs), its bias at 0. Batch norm keeps γ = 1, β = 0.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            _init_convolution(module)
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


def _init_convolution(convolution: nn.Conv2d) -> None:
    fan_out = math.prod(convolution.kernel_size) * convolution.out_channels // convolution.groups
    nn.init.normal_(convolution.weight, std=math.sqrt(2 / fan_out))
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)
