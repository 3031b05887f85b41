"""Residual networks and their tricks (He 2016, arXiv:1512.03385)."""

import warnings
from collections import OrderedDict
from collections.abc import Iterable
from functools import partial

from torch import nn

from trainer.models.resnet_layout import (
    Block,
    PlainStage,
    Stage,
    smallest_side,
    stages_of,
    stem_branches,
    stem_units,
)
from trainer.models.resnet_parts.big_little import StemPool, TwoBranches
from trainer.models.resnet_parts.block import ResidualBlock
from trainer.models.resnet_parts.blur import BlurPool
from trainer.models.resnet_parts.drop_block import fitting_block
from trainer.models.resnet_parts.init import init_resnet
from trainer.models.resnet_parts.layers import Norm, chain
from trainer.resnet_config import ResNetConfig


def resnet(config: ResNetConfig) -> nn.Module:
    """The network that maps images (B, 3, R, R) to logits (B, num_classes), freshly initialised.

    Warns where DropBlock's squares do not fit a map and become smaller.
    """
    _warn_of_clipped_blocks(config)
    norm = partial(nn.BatchNorm2d, eps=config.norm_eps, momentum=config.norm_momentum)
    stages = stages_of(config)
    last = config.channels[-1] * config.expansion
    layers: OrderedDict[str, nn.Module] = OrderedDict(stem=_stem(config, norm))  # (B, C, R/4, R/4)
    count = sum(1 for stage in stages for _ in stage)
    for number, stage in enumerate(stages, start=1):
        layers[f"stage{number}"] = _stage(stage, config, norm, count)
    layers["pool"] = nn.AdaptiveAvgPool2d(1)  # (B, C, 1, 1)
    layers["flatten"] = nn.Flatten()
    layers["dropout"] = nn.Dropout(config.dropout)
    layers["classifier"] = nn.Linear(last, config.num_classes)
    network = nn.Sequential(layers)
    init_resnet(network, config)
    return network


def _stem(config: ResNetConfig, norm: Norm) -> nn.Sequential:
    layers = OrderedDict[str, nn.Module](convolutions=chain(stem_units(config), norm))
    if config.stem == "small":
        return nn.Sequential(layers)
    if config.big_little is not None:
        branches = stem_branches(config.stem_channels, config.big_little)
        layers["pool"] = StemPool(branches, norm)
    elif config.blur in ("none", "conv"):
        layers["pool"] = nn.MaxPool2d(3, stride=2, padding=1)
    else:
        layers["pool"] = nn.MaxPool2d(3, stride=1, padding=1)
        layers["blur"] = BlurPool(config.blur_size)
    return nn.Sequential(layers)


def _stage(stage: Stage, config: ResNetConfig, norm: Norm, count: int) -> nn.Module:
    """A stage of a network with so many blocks."""

    def built(blocks: Iterable[Block]) -> list[nn.Module]:
        rate = config.stochastic_depth / count
        return [
            ResidualBlock(block, config, norm=norm, drop_rate=rate * block.place)
            for block in blocks
        ]

    if isinstance(stage, PlainStage):
        return nn.Sequential(*built(stage))
    widening = chain([stage.widening], norm, ends_active=False)
    (merge,) = built([stage.merge])
    return TwoBranches(
        big=nn.Sequential(*built(stage.big)),
        little=nn.Sequential(*built(stage.little), widening),
        merge=merge,
    )


def _warn_of_clipped_blocks(config: ResNetConfig) -> None:
    if config.drop_block is None:
        return
    wanted = config.drop_block.block_size
    for stage in config.drop_block.stages:
        side = smallest_side(config, stage)
        fitting = fitting_block(wanted, side)
        if fitting < wanted:
            warnings.warn(
                f"model.drop_block.block_size: squares of {wanted} px do not fit the {side} px "
                f"maps of stage {stage}; they are {fitting} px there",
                stacklevel=3,
            )
