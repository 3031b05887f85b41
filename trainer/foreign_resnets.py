"""Residual networks of torchvision and timm that are ours under another name. Loads no torch."""

from __future__ import annotations

import re

from trainer.models.resnets import named_resnet
from trainer.resnet_config import ResNetConfig

DEPTHS = (18, 34, 50, 101, 152)
PLAIN = tuple(f"resnet{depth}" for depth in DEPTHS)
"""The ones that torchvision has too."""
TWEAKED = (
    *(f"resnet{depth}d" for depth in DEPTHS),
    *(f"seresnet{depth}" for depth in DEPTHS),
    "resnetblur50",
)
"""Deep stem and pooled shortcuts; squeeze-and-excitation; blurred strides: timm's alone."""
_NAME = re.compile(r"(se)?resnet(blur)?(\d+)(d?)")


def foreign_resnet(name: str) -> tuple[str, ResNetConfig] | None:
    """What we call one of `PLAIN` and `TWEAKED`, and its configuration for ImageNet; or None."""
    match = _NAME.fullmatch(name)
    if match is None or name not in (*PLAIN, *TWEAKED):
        return None
    attends, blurs, depth, tweaked = match.groups()
    called = f"resnet-{depth}{'-d' if tweaked else ''}"
    config = named_resnet(called)
    if attends:
        return f"{called}-se", config.with_(attention="se")
    if blurs:
        return f"{called}-blurred", config.with_(blur="conv+pool")
    return called, config
