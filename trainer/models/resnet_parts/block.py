"""The residual block."""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn.functional import relu
from torchvision.ops import SqueezeExcitation, StochasticDepth

from trainer.models.resnet_layout import Block, squeezed_se, squeezed_sk, units_of
from trainer.models.resnet_parts.attention import SelectiveKernels
from trainer.models.resnet_parts.blur import BlurPool
from trainer.models.resnet_parts.drop_block import DropBlock
from trainer.models.resnet_parts.layers import Norm, convolution
from trainer.resnet_config import ResNetConfig


class ResidualBlock(nn.Module):
    """The sum of a shortcut and a branch of convolutions (He 2016, arXiv:1512.03385, fig. 5)."""

    def __init__(self, block: Block, config: ResNetConfig, *, norm: Norm, drop_rate: float) -> None:
        super().__init__()
        self.branch, self.last_norm_name = _branch(block, config, norm)
        self.shortcut = _shortcut(block, config, norm) if block.projects else None
        self.stochastic_depth = StochasticDepth(drop_rate, mode="row")
        self.activates = block.activates

    @property
    def last_norm(self) -> nn.Module:
        """The batch norm after the last convolution of the branch."""
        return self.branch.get_submodule(self.last_norm_name)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, inputs, H, W) to maps (B, outputs, ⌈H/stride⌉, ⌈W/stride⌉)."""
        branch = self.branch(maps)
        return self.add(branch, maps if self.shortcut is None else self.shortcut(maps))

    def add(self, branch: Tensor, shortcut: Tensor) -> Tensor:
        """What is made of the two at the block's end."""
        total: Tensor = shortcut + self.stochastic_depth(branch)
        return relu(total, inplace=True) if self.activates else total


def _branch(block: Block, config: ResNetConfig, norm: Norm) -> tuple[nn.Sequential, str]:
    """The branch, and the name of its last batch norm."""
    units = units_of(block, config)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, unit in enumerate(units, start=1):
        if unit.selects:
            squeezed = squeezed_sk(unit.outputs, config)
            layers[f"select{number}"] = SelectiveKernels(unit, squeezed=squeezed, norm=norm)
        else:
            layers[f"conv{number}"] = convolution(unit)
            layers[f"norm{number}"] = norm(unit.outputs)
        layers |= _dropping(f"drop{number}", block, config)
        if number < len(units) and not unit.selects:  # selective kernels are positive
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
        if unit.blurs:
            layers[f"blur{number}"] = BlurPool(config.blur_size)
    if config.attention == "se":
        squeezed = squeezed_se(block.outputs, config)
        layers["attention"] = SqueezeExcitation(block.outputs, squeezed)
    return nn.Sequential(layers), f"norm{len(units)}"


def _shortcut(block: Block, config: ResNetConfig, norm: Norm) -> nn.Sequential:
    """A 1×1 convolution, with what strides before it."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    stride = block.stride
    if stride > 1 and config.shortcut == "pooled":
        layers["pool"] = _average_pool(config)
        stride = 1
    elif stride > 1 and config.blur == "conv+pool+projection":
        layers["blur"] = BlurPool(config.blur_size)
        stride = 1
    layers["conv"] = nn.Conv2d(block.inputs, block.outputs, 1, stride, bias=False)
    layers["norm"] = norm(block.outputs)
    layers |= _dropping("drop", block, config)
    return nn.Sequential(layers)


def _average_pool(config: ResNetConfig) -> nn.AvgPool2d:
    """Of stride 2; the mean of the pixels that there are, also at the border of an odd map."""
    if config.big_little is None:
        return nn.AvgPool2d(2, stride=2, ceil_mode=True, count_include_pad=False)
    return nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False)


def _dropping(name: str, block: Block, config: ResNetConfig) -> dict[str, nn.Module]:
    scale = 0.0 if config.drop_block is None else config.drop_block.scale_of(block.stage)
    if config.drop_block is None or scale == 0:
        return {}
    return {name: DropBlock(config.drop_block, scale=scale)}
