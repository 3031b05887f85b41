"""The networks that scaling starts from, as configurations. Loads no torch."""

from trainer.config import BlockStage, EfficientNetConfig, require
from trainer.errors import unknown_value
from trainer.models.rounding import Number, exact, round_depth, round_width


def _mbconv(expand: int, kernel: int, stride: int, channels: int, repeats: int) -> BlockStage:
    return BlockStage(
        expand=expand, kernel=kernel, stride=stride, channels=channels, repeats=repeats
    )


def _fused(expand: int, kernel: int, stride: int, channels: int, repeats: int) -> BlockStage:
    return _mbconv(expand, kernel, stride, channels, repeats).with_(operator="fused-mbconv")


_B0 = EfficientNetConfig(
    stem_channels=32,
    stages=(
        _mbconv(1, 3, 1, 16, 1),
        _mbconv(6, 3, 2, 24, 2),
        _mbconv(6, 5, 2, 40, 2),
        _mbconv(6, 3, 2, 80, 3),
        _mbconv(6, 5, 1, 112, 3),
        _mbconv(6, 5, 2, 192, 4),
        _mbconv(6, 3, 1, 320, 1),
    ),
    head_channels=1280,
    num_classes=1000,
    resolution=224,
)

_V2_S = EfficientNetConfig(
    stem_channels=24,
    stages=(
        _fused(1, 3, 1, 24, 2),
        _fused(4, 3, 2, 48, 4),
        _fused(4, 3, 2, 64, 4),
        _mbconv(4, 3, 2, 128, 6),
        _mbconv(6, 3, 1, 160, 9),
        _mbconv(6, 3, 2, 256, 15),
    ),
    head_channels=1280,
    num_classes=1000,
    resolution=384,
)

BASELINES: dict[str, EfficientNetConfig] = {
    # Tan & Le 2019, arXiv:1905.11946, table 1
    "efficientnet-b0": _B0,
    # the same for images under about 64 px: with five halvings the cost of a 32 px image more than
    # doubles at 33 px, where the last map gains a row, and no other resolution fits a budget of 2x
    "efficientnet-b0-small": _B0.with_(stem_stride=1, resolution=32),
    # Tan & Le 2021, arXiv:2104.00298, table 4, in torchvision's form
    "efficientnet-v2-s": _V2_S,
}


def baseline(
    name: str,
    *,
    num_classes: int = 1000,
    resolution: int | None = None,
    width: Number = 1,
    depth: Number = 1,
) -> EfficientNetConfig:
    """The named baseline with its channels times `width` and its repeats times `depth`.

    `resolution` is the baseline's usual one unless given. Stem and head are widened with the
    stages; they are not repeated.

    Raises: ConfigError for an unknown name, a factor that is not positive, or a resolution below
    the product of the strides.
    """
    if name not in BASELINES:
        raise unknown_value("baseline", name, BASELINES)
    for axis, value in (("width", width), ("depth", depth)):
        factor = exact(value, path=f"baseline.{axis}")
        require(factor > 0, f"baseline.{axis} must be positive, got {value}")
    start = BASELINES[name]
    return start.with_(
        stem_channels=round_width(start.stem_channels, width),
        stages=tuple(_scaled(stage, width, depth) for stage in start.stages),
        head_channels=round_width(start.head_channels, width),
        num_classes=num_classes,
        resolution=start.resolution if resolution is None else resolution,
    )


def _scaled(stage: BlockStage, width: Number, depth: Number) -> BlockStage:
    return stage.with_(
        channels=round_width(stage.channels, width), repeats=round_depth(stage.repeats, depth)
    )
