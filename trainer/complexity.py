"""Parameters, multiply-adds and activations of a network from its configuration, exact.

`macs` are the multiply-adds of convolutions and linear layers for one image, each counted once:
what the papers print as FLOPs. Biases, batch norm, pooling and activation functions do not count.
Loads no torch: a search screens thousands of networks before it builds one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from trainer.config import EfficientNetConfig, ModelConfig, Strict, WideResNetConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Complexity(Strict):
    """What a network, or a part of one, costs."""

    params: int = 0
    """Trainable numbers; running statistics are none."""
    macs: int = 0
    """Multiply-adds of one image."""
    activations: int = 0
    """Output elements of the convolutions (Radosavovic 2020, arXiv:2003.13678, §3.1): what memory
    and, on accelerators, time follow more closely than multiply-adds."""

    @property
    def flops(self) -> int:
        """Floating-point operations: two for each multiply-add."""
        return 2 * self.macs

    def __add__(self, other: Complexity) -> Complexity:
        return Complexity(
            params=self.params + other.params,
            macs=self.macs + other.macs,
            activations=self.activations + other.activations,
        )

    def __mul__(self, times: int) -> Complexity:
        return Complexity(
            params=self.params * times, macs=self.macs * times, activations=self.activations * times
        )


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


def depth_costs(config: EfficientNetConfig) -> DepthCosts:
    """The complexity as a function of the repeats; those of `config` are not looked at."""
    side = _strided(config.resolution, 3, config.stem_stride)
    channels = config.stem_channels
    shallow = _conv(3, channels, kernel=3, side=side)
    blocks = []
    for stage in config.stages:
        shape = (stage.operator, stage.kernel, stage.expand)
        shallow += _block(*shape, stage.stride, channels, stage.channels, side)
        side = _strided(side, stage.kernel, stage.stride)
        channels = stage.channels
        blocks.append(_block(*shape, 1, channels, channels, side))
    shallow += _conv(channels, config.head_channels, side=side)
    shallow += _linear(config.head_channels, config.num_classes)
    return DepthCosts(shallow=shallow, blocks=tuple(blocks))


def _wide_resnet(config: WideResNetConfig) -> Complexity:
    side, channels = config.resolution, config.stem_channels
    total = _conv(3, channels, kernel=3, side=side, normed=False)
    for outputs, stride in zip(config.channels, config.strides, strict=True):
        total += _pre_activation_block(stride, channels, outputs, side)
        side, channels = _strided(side, 3, stride), outputs
        total += _pre_activation_block(1, channels, channels, side) * (config.blocks - 1)
    return total + _norm(channels) + _linear(channels, config.num_classes)


def _pre_activation_block(stride: int, inputs: int, outputs: int, side: int) -> Complexity:
    strided = _strided(side, 3, stride)
    first = _norm(inputs) + _conv(inputs, outputs, kernel=3, side=strided, normed=False)
    second = _norm(outputs) + _conv(outputs, outputs, kernel=3, side=strided, normed=False)
    if stride == 1 and inputs == outputs:
        return first + second
    return first + second + _conv(inputs, outputs, side=strided, normed=False)


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
    strided = _strided(side, kernel, stride)
    project = _conv(inner, outputs, side=strided)
    if operator == "mbconv":
        widen = _conv(inputs, inner, side=side) if expand > 1 else Complexity()
        depthwise = _conv(inner, inner, kernel=kernel, groups=inner, side=strided)
        return widen + depthwise + _squeeze_excite(inner, max(1, inputs // 4)) + project
    if expand == 1:
        return _conv(inputs, outputs, kernel=kernel, side=strided)
    return _conv(inputs, inner, kernel=kernel, side=strided) + project


def _conv(
    inputs: int, outputs: int, *, side: int, kernel: int = 1, groups: int = 1, normed: bool = True
) -> Complexity:
    """A convolution whose output map has this side, without bias; the batch norm of its output."""
    weights = kernel * kernel * inputs // groups * outputs
    area = side * side
    params = weights + 2 * outputs if normed else weights
    return Complexity(params=params, macs=weights * area, activations=outputs * area)


def _norm(channels: int) -> Complexity:
    return Complexity(params=2 * channels)


def _squeeze_excite(channels: int, squeezed: int) -> Complexity:
    """Two 1×1 convolutions with bias on a map of one pixel (Hu 2018, arXiv:1709.01507)."""
    weights, outputs = 2 * channels * squeezed, channels + squeezed
    return Complexity(params=weights + outputs, macs=weights, activations=outputs)


def _linear(inputs: int, outputs: int) -> Complexity:
    return Complexity(params=inputs * outputs + outputs, macs=inputs * outputs)


def _strided(side: int, kernel: int, stride: int) -> int:
    """Side of the output map under padding (k-1)/2: an odd map keeps its last row."""
    return (side + 2 * ((kernel - 1) // 2) - kernel) // stride + 1
