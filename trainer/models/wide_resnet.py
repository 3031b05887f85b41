"""Wide residual networks (Zagoruyko & Komodakis 2016, arXiv:1605.07146)."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn.functional import relu

from trainer.config import WideResNetConfig
from trainer.models.init import init_as_wide_resnet

Norm = Callable[[int], nn.Module]
"""From a number of channels to the batch norm over them."""


class PreActivationBlock(nn.Module):
    """Two 3×3 convolutions, each after batch norm and ReLU (He 2016, arXiv:1603.05027, fig. 4e).

    Where the shape changes, the shortcut is a 1×1 convolution of the activated input, as in the
    authors' code; elsewhere it is the input itself.
    """

    def __init__(
        self, inputs: int, outputs: int, *, stride: int, dropout: float, norm: Norm
    ) -> None:
        super().__init__()
        self.norm1 = norm(inputs)
        self.conv1 = _conv3x3(inputs, outputs, stride)
        self.norm2 = norm(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = _conv3x3(outputs, outputs)
        self.shortcut: nn.Module | None = None
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, inputs, H, W) to maps (B, outputs, ⌈H/stride⌉, ⌈W/stride⌉)."""
        active = relu(self.norm1(maps), inplace=True)
        between = relu(self.norm2(self.conv1(active)), inplace=True)
        branch: Tensor = self.conv2(self.dropout(between))
        shortcut: Tensor = maps if self.shortcut is None else self.shortcut(active)
        return shortcut + branch


def wide_resnet(config: WideResNetConfig) -> nn.Module:
    """The network that maps images (B, 3, R, R) to logits (B, num_classes), freshly initialised."""
    norm = partial(nn.BatchNorm2d, eps=config.norm_eps, momentum=config.norm_momentum)
    first, second, third = _groups(config, norm)
    last = config.channels[-1]
    layers: dict[str, nn.Module] = {
        "stem": _conv3x3(3, config.stem_channels),  # (B, C, R, R)
        "group1": first,  # (B, C1, R, R)
        "group2": second,  # (B, C2, R/2, R/2)
        "group3": third,  # (B, C3, R/4, R/4)
        "norm": norm(last),
        "relu": nn.ReLU(inplace=True),
        "pool": nn.AdaptiveAvgPool2d(1),  # (B, C3, 1, 1)
        "flatten": nn.Flatten(),
        "classifier": nn.Linear(last, config.num_classes),
    }
    network = nn.Sequential(OrderedDict(layers))
    init_as_wide_resnet(network)
    return network


def _groups(config: WideResNetConfig, norm: Norm) -> list[nn.Sequential]:
    inputs = (config.stem_channels, *config.channels)
    return [
        _group(before, after, stride=stride, config=config, norm=norm)
        for before, after, stride in zip(inputs, config.channels, config.strides, strict=False)
    ]


def _group(
    inputs: int, outputs: int, *, stride: int, config: WideResNetConfig, norm: Norm
) -> nn.Sequential:
    """Blocks of which the first has the stride and the channel change."""
    block = partial(PreActivationBlock, dropout=config.dropout, norm=norm)
    others = (block(outputs, outputs, stride=1) for _ in range(config.blocks - 1))
    return nn.Sequential(block(inputs, outputs, stride=stride), *others)


def _conv3x3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
