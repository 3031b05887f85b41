"""Residual networks by name, as configurations. Loads no torch."""

from trainer.config import require
from trainer.errors import unknown_value
from trainer.models.rounding import Number, exact, round_width
from trainer.resnet_config import BigLittle, DropBlock, ResNetConfig

_REPEATS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""He 2016, arXiv:1512.03385, table 1."""
_BASIC = (18, 34)
_SMALL_DEPTHS = (20, 32, 44, 56, 110)
"""6n + 2, for small images (§4.2)."""
_ASSEMBLED = {50: ((3, 4, 6, 3), 2, 4), 152: ((5, 12, 30, 3), 1, 2)}
"""Repeats, α and β of Assemble-ResNet; the 152's are Big-Little's own, not table 1's."""


def _plain(depth: int) -> ResNetConfig:
    return ResNetConfig(
        block="basic" if depth in _BASIC else "bottleneck",
        repeats=_REPEATS[depth],
        channels=(64, 128, 256, 512),
        num_classes=1000,
        resolution=224,
    )


def _for_small_images(depth: int) -> ResNetConfig:
    """As in the paper but for the shortcuts that change the shape: a convolution, not zeros."""
    return ResNetConfig(
        block="basic",
        repeats=((depth - 2) // 6,) * 3,
        channels=(16, 32, 64),
        stem="small",
        stem_channels=16,
        num_classes=10,
        resolution=32,
    )


def _tweaked(config: ResNetConfig) -> ResNetConfig:
    """ResNet-D (He 2018, arXiv:1812.01187, §4)."""
    return config.with_(deep_stem=True, shortcut="pooled")


def _assembled(depth: int) -> ResNetConfig:
    """Assemble-ResNet (Lee 2020, arXiv:2001.06268, E11 and E12): its stem is not a deep one."""
    repeats, alpha, beta = _ASSEMBLED[depth]
    return ResNetConfig(
        repeats=repeats,
        channels=(64, 128, 256, 512),
        shortcut="pooled",
        attention="sk",
        blur="conv",
        big_little=BigLittle(alpha=alpha, beta=beta),
        zero_gamma=True,
        drop_block=DropBlock(),
        num_classes=1000,
        resolution=224,
    )


def _small(config: ResNetConfig) -> ResNetConfig:
    """The same for images of 32 px, whose last maps have 4."""
    drop_block = None if config.drop_block is None else config.drop_block.with_(block_size=3)
    return config.with_(stem="small", resolution=32, drop_block=drop_block)


_LARGE: dict[str, ResNetConfig] = {
    **{f"resnet-{depth}": _plain(depth) for depth in _REPEATS},
    **{f"resnet-{depth}-d": _tweaked(_plain(depth)) for depth in _REPEATS},
    **{f"assemble-resnet-{depth}": _assembled(depth) for depth in _ASSEMBLED},
}

RESNETS: dict[str, ResNetConfig] = {
    **_LARGE,
    **{f"{name}-small": _small(config) for name, config in _LARGE.items()},
    **{f"resnet-{depth}": _for_small_images(depth) for depth in _SMALL_DEPTHS},
}
"""`-d` has Bag of Tricks' stem and shortcuts, `-small` a stem for images under about 64 px."""


def named_resnet(
    name: str,
    *,
    num_classes: int = 1000,
    resolution: int | None = None,
    width: Number = 1,
) -> ResNetConfig:
    """The named network with its channels times `width`, to the nearest multiple of 8.

    `resolution` is the network's usual one unless given.

    Raises: ConfigError for an unknown name, a factor that is not positive, or a resolution that the
    network cannot be built for.
    """
    if name not in RESNETS:
        raise unknown_value("resnet", name, RESNETS)
    require(exact(width, path="resnet.width") > 0, f"resnet.width must be positive, got {width}")
    start = RESNETS[name]
    return start.with_(
        stem_channels=round_width(start.stem_channels, width),
        channels=tuple(round_width(channels, width) for channels in start.channels),
        num_classes=num_classes,
        resolution=start.resolution if resolution is None else resolution,
    )
