"""What can be built, as configurations. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal, TypeAlias

from trainer.resnet_config import ResNetConfig
from trainer.strict import Strict, require


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStage(Strict):
    """A stage of inverted-bottleneck blocks; the first has the stride and the channel change."""

    operator: Literal["mbconv", "fused-mbconv"] = "mbconv"
    kernel: int
    stride: int
    expand: int
    """Expansion ratio of the inner width."""
    channels: int
    """Output channels."""
    repeats: int

    def __post_init__(self) -> None:
        for name in ("kernel", "stride", "expand", "channels", "repeats"):
            value = getattr(self, name)
            require(value >= 1, f"model.stages: {name} must be at least 1, got {value}")
        require(self.kernel % 2 == 1, f"model.stages: kernel must be odd, got {self.kernel}")
        require(self.stride <= 2, f"model.stages: stride must be 1 or 2, got {self.stride}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EfficientNetConfig(Strict):
    """An EfficientNet as it is built (Tan & Le 2019, arXiv:1905.11946, table 1).

    Holds channels, repeats and the resolution, never α, β, γ: two points of a search grid that
    build the same network have equal configurations.
    """

    family: Literal["efficientnet"] = "efficientnet"
    stem_channels: int
    stem_stride: int = 2
    stages: tuple[BlockStage, ...]
    head_channels: int
    num_classes: int
    resolution: int
    """Side of the square training and test image, in pixels."""
    dropout: float = 0.2
    """Probability before the classifier."""
    stochastic_depth: float = 0.2
    """Drop rate that the (never reached) block N would have; block i of N has rate·i/N."""
    norm_eps: float = 1e-3
    norm_momentum: float = 0.1
    """PyTorch's convention: the weight of the new batch. TF's published 0.99 is 0.01 here, which
    needs several hundred steps before the running statistics mean anything."""
    init: Literal["tf", "torchvision"] = "tf"
    """`tf`: normal with fan-out k²·C_out (depthwise k²), as the released EfficientNets."""
    zero_gamma: bool = False
    """The last batch norm of each block with a residual connection begins with γ = 0: a fresh block
    returns its input (He 2018, arXiv:1812.01187, §3.1)."""

    def __post_init__(self) -> None:
        require(bool(self.stages), "model.stages: at least one stage is needed")
        require(
            self.stem_stride in (1, 2), f"model.stem_stride must be 1 or 2, got {self.stem_stride}"
        )
        require(
            0 <= self.stochastic_depth < 1,
            f"model.stochastic_depth must be in [0, 1), got {self.stochastic_depth}",
        )
        _check_model(self)

    @property
    def total_stride(self) -> int:
        """Product of the strides from the image to the pooled map."""
        return self.stem_stride * prod(stage.stride for stage in self.stages)


@dataclass(frozen=True, slots=True, kw_only=True)
class WideResNetConfig(Strict):
    """A wide residual network as it is built (Zagoruyko & Komodakis 2016, arXiv:1605.07146).

    Holds channels, never the widening factor k, for the reason that EfficientNets hold no β.
    """

    strides: ClassVar[tuple[int, int, int]] = (1, 2, 2)
    """Of the first block of each group."""

    family: Literal["wide-resnet"] = "wide-resnet"
    depth: int
    """6n + 4 for n blocks in each of the three groups: the two convolutions of every block, the
    stem and the three shortcuts, as the paper counts them."""
    channels: tuple[int, int, int]
    """Output channels of each group; 16k, 32k and 64k in the paper (table 1)."""
    stem_channels: int = 16
    num_classes: int
    resolution: int
    """Side of the square training and test image, in pixels; 32 in the paper."""
    dropout: float = 0.0
    """Probability between the two convolutions of a block (§2.4), none before the classifier."""
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1
    """PyTorch's convention: the weight of the new batch."""

    def __post_init__(self) -> None:
        require(self.depth >= 10 and self.depth % 6 == 4, _no_such_depth(self.depth))
        require(min(self.channels) >= 1, f"model.channels must be positive, got {self.channels}")
        require(
            self.stem_channels >= 1,
            f"model.stem_channels must be at least 1, got {self.stem_channels}",
        )
        _check_model(self)

    @property
    def blocks(self) -> int:
        """Blocks of each group."""
        return (self.depth - 4) // 6

    @property
    def total_stride(self) -> int:
        """Product of the strides from the image to the pooled map."""
        return prod(self.strides)


def _no_such_depth(depth: int) -> str:
    below = depth - (depth - 4) % 6
    nearest = "10" if below < 10 else f"{below} or {below + 6}"
    return f"model.depth must be 6n + 4 for n blocks in each group, got {depth}; try {nearest}"


ModelConfig: TypeAlias = EfficientNetConfig | WideResNetConfig | ResNetConfig
"""What can be built; told apart by `family`."""


def _check_model(model: EfficientNetConfig | WideResNetConfig) -> None:
    """Refuse what no family can be built with."""
    require(
        model.num_classes >= 2, f"model.num_classes must be at least 2, got {model.num_classes}"
    )
    require(0 <= model.dropout < 1, f"model.dropout must be in [0, 1), got {model.dropout}")
    require(
        model.resolution >= model.total_stride,
        f"model.resolution: {model.resolution} px is below the network's total stride "
        f"{model.total_stride}; use at least {model.total_stride}",
    )
