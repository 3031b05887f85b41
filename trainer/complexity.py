"""Parameters, multiply-adds and activations of a network from its configuration, exact.

`macs` are the multiply-adds of convolutions and linear layers for one image, each counted once:
what the papers print as FLOPs. Biases, batch norm, pooling and activation functions do not count;
the fixed filters of anti-aliased downsampling do, as convolutions that have no parameters.
Loads no torch: a search screens thousands of networks before it builds one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from trainer.config import (
    EfficientNetConfig,
    ModelConfig,
    ResNetConfig,
    Strict,
    WideResNetConfig,
)
from trainer.layer_costs import Complexity as Complexity
from trainer.layer_costs import conv, linear, norm, squeeze_excite, strided_side
from trainer.resnet_complexity import resnet_complexity


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthCosts(Strict):
    """The complexity of all networks that differ in depth alone: it is affine in the repeats."""

    shallow: Complexity
    """With one block in each stage."""
    blocks: tuple[Complexity, ...]
    """One more block in each stage."""

    def at(self, repeats: Sequence[int]) -> Complexity:
        """The complexity with so many blocks in each stage."""
        more = (block * (n - 1) for block, n in zip(self.blocks, repeats, strict=True))
        return sum(more, start=self.shallow)

    def macs_at(self, repeats: Sequence[int]) -> int:
        """`at(repeats).macs`, for loops over large grids."""
        more = ((n - 1) * block.macs for block, n in zip(self.blocks, repeats, strict=True))
        return self.shallow.macs + sum(more)


def count(config: ModelConfig) -> Complexity:
    """The complexity of the network that `config` describes, at its own resolution."""
    match config:
        case EfficientNetConfig():
            return depth_costs(config).at([stage.repeats for stage in config.stages])
        case WideResNetConfig():
            return _wide_resnet(config)
        case ResNetConfig():
            return resnet_complexity(config)


def depth_costs(config: EfficientNetConfig) -> DepthCosts:
    """The complexity as a function of the repeats; those of `config` are not looked at."""
    side = strided_side(config.resolution, 3, config.stem_stride)
    channels = config.stem_channels
    shallow = conv(3, channels, kernel=3, side=side)
    blocks = []
    for stage in config.stages:
        shape = (stage.operator, stage.kernel, stage.expand)
        shallow += _block(*shape, stage.stride, channels, stage.channels, side)
        side = strided_side(side, stage.kernel, stage.stride)
        channels = stage.channels
        blocks.append(_block(*shape, 1, channels, channels, side))
    shallow += conv(channels, config.head_channels, side=side)
    shallow += linear(config.head_channels, config.num_classes)
    return DepthCosts(shallow=shallow, blocks=tuple(blocks))


def _wide_resnet(config: WideResNetConfig) -> Complexity:
    side, channels = config.resolution, config.stem_channels
    total = conv(3, channels, kernel=3, side=side, normed=False)
    for outputs, stride in zip(config.channels, config.strides, strict=True):
        total += _pre_activation_block(stride, channels, outputs, side)
        side, channels = strided_side(side, 3, stride), outputs
        total += _pre_activation_block(1, channels, channels, side) * (config.blocks - 1)
    return total + norm(channels) + linear(channels, config.num_classes)


def _pre_activation_block(stride: int, inputs: int, outputs: int, side: int) -> Complexity:
    strided = strided_side(side, 3, stride)
    first = norm(inputs) + conv(inputs, outputs, kernel=3, side=strided, normed=False)
    second = norm(outputs) + conv(outputs, outputs, kernel=3, side=strided, normed=False)
    if stride == 1 and inputs == outputs:
        return first + second
    return first + second + conv(inputs, outputs, side=strided, normed=False)


@lru_cache(maxsize=1 << 16)  # the networks of a grid share most of their blocks
def _block(
    operator: Literal["mbconv", "fused-mbconv"],
    kernel: int,
    expand: int,
    stride: int,
    inputs: int,
    outputs: int,
    side: int,
) -> Complexity:
    inner = inputs * expand
    strided = strided_side(side, kernel, stride)
    project = conv(inner, outputs, side=strided)
    if operator == "mbconv":
        widen = conv(inputs, inner, side=side) if expand > 1 else Complexity()
        depthwise = conv(inner, inner, kernel=kernel, groups=inner, side=strided)
        return widen + depthwise + squeeze_excite(inner, max(1, inputs // 4)) + project
    if expand == 1:
        return conv(inputs, outputs, kernel=kernel, side=strided)
    return conv(inputs, inner, kernel=kernel, side=strided) + project
