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
            fan_out = math.prod(module.kernel_size) * module.out_channels // module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        elif isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.out_features)
            nn.init.uniform_(module.weight, -bound, bound)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
