"""What a residual network costs. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterable

from trainer.layer_costs import Complexity, conv, linear, squeeze_excite
from trainer.models.resnet_layout import (
    BigLittleStage,
    Block,
    Stage,
    Unit,
    squeezed_se,
    squeezed_sk,
    stages_of,
    stem_branches,
    stem_units,
    units_of,
)
from trainer.resnet_config import ResNetConfig


def resnet_complexity(config: ResNetConfig) -> Complexity:
    """The complexity of the network that `config` describes, at its own resolution."""
    total, side = _stem(config)
    outputs = config.stem_channels
    for stage in stages_of(config):
        cost, side = _stage(stage, config, side)
        total += cost
    outputs = config.channels[-1] * config.expansion
    return total + linear(outputs, config.num_classes)


def _stem(config: ResNetConfig) -> tuple[Complexity, int]:
    """Its complexity, and the side of the map it gives."""
    total, side = _units(stem_units(config), config, config.resolution)
    if config.stem == "small":
        return total, side
    halved = _halved(side)
    if config.big_little is not None:
        branches = stem_branches(config.stem_channels, config.big_little)
        for part in ((branches.big,), branches.little):
            total += _units(part, config, side)[0]
        total += _units((branches.merge,), config, halved)[0]
    elif config.blur != "none" and config.blur != "conv":
        total += _blur(config.stem_channels, config, halved)
    return total, halved


def _stage(stage: Stage, config: ResNetConfig, side: int) -> tuple[Complexity, int]:
    if not isinstance(stage, BigLittleStage):
        return _blocks(stage.blocks, config, side)
    big, _ = _blocks(stage.big, config, side)
    little, _ = _blocks(stage.little, config, side)
    widening, _ = _units((stage.widening,), config, side)
    merge, merged = _blocks((stage.merge,), config, side)
    return big + little + widening + merge, merged


def _blocks(blocks: Iterable[Block], config: ResNetConfig, side: int) -> tuple[Complexity, int]:
    total = Complexity()
    for block in blocks:
        cost, output_side = _units(units_of(block, config), config, side)
        total += cost + _shortcut(block, config, output_side)
        if config.attention == "se":
            total += squeeze_excite(block.outputs, squeezed_se(block.outputs, config))
        side = output_side
    return total, side


def _shortcut(block: Block, config: ResNetConfig, side: int) -> Complexity:
    if not block.projects:
        return Complexity()
    project = conv(block.inputs, block.outputs, side=side)
    if block.stride > 1 and config.blur == "conv+pool+projection":
        return _blur(block.inputs, config, side) + project
    return project


def _units(units: Iterable[Unit], config: ResNetConfig, side: int) -> tuple[Complexity, int]:
    total = Complexity()
    for unit in units:
        side = side if unit.stride == 1 else _halved(side)
        paths = 2 if unit.selects else 1
        total += conv(unit.inputs, paths * unit.outputs, kernel=unit.kernel, side=side)
        if unit.selects:
            squeezed = squeezed_sk(unit.outputs, config)
            total += conv(unit.outputs, squeezed, side=1)
            total += conv(squeezed, paths * unit.outputs, side=1, normed=False)
        if unit.blurs:
            side = _halved(side)
            total += _blur(unit.outputs, config, side)
    return total, side


def _blur(channels: int, config: ResNetConfig, side: int) -> Complexity:
    """A fixed filter on each channel, whose output map has this side."""
    outputs = channels * side * side
    return Complexity(macs=config.blur_size**2 * outputs, activations=outputs)


def _halved(side: int) -> int:
    return -(-side // 2)
