"""A residual network as the sum of its tricks. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from trainer.strict import Strict, require


@dataclass(frozen=True, slots=True, kw_only=True)
class BigLittle(Strict):
    """Stages of two branches: a deep one on half the resolution, a thin one on the whole.

    Chen 2019, arXiv:1807.03848, in the form of Assemble-ResNet (Lee 2020, arXiv:2001.06268).
    """

    alpha: int = 2
    """What the little branch's channels are divided by."""
    beta: int = 4
    """What its number of blocks is divided by."""

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            value = getattr(self, name)
            require(value >= 1, f"model.big_little.{name} must be at least 1, got {value}")

    def little_repeats(self, repeats: int) -> int:
        """Blocks of the little branch in a stage of so many."""
        return max(1, repeats // self.beta - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropBlock(Strict):
    """Squares of the maps set to zero in training (Ghiasi 2018, arXiv:1810.12890).

    After every convolution and batch norm of a block, that of a projecting shortcut included.
    """

    keep_prob: float = 0.9
    """Expected share of a map that is kept, where the schedule ends; it begins at 1."""
    block_size: int = 7
    """Side of the squares, odd; on a smaller map the largest odd one that fits."""
    stages: tuple[int, ...] = (3, 4)
    """Counted from 1, rising."""
    scales: tuple[float, ...] = (0.25, 1.0)
    """What each of these stages multiplies the rate by (Assemble-ResNet's)."""
    per_channel: bool = True
    """Each channel has squares of its own."""
    per_image: bool = False
    """Each image has; else they are the same for the whole batch, as in Assemble-ResNet's code."""

    def __post_init__(self) -> None:
        path = "model.drop_block"
        require(
            0 < self.keep_prob <= 1, f"{path}.keep_prob must be in (0, 1], got {self.keep_prob}"
        )
        require(
            self.block_size >= 1 and self.block_size % 2 == 1,
            f"{path}.block_size must be odd and positive, got {self.block_size}",
        )
        require(
            bool(self.stages) and list(self.stages) == sorted(set(self.stages)),
            f"{path}.stages must be rising and not empty, got {self.stages}",
        )
        require(
            len(self.scales) == len(self.stages),
            f"{path}.scales: one for each of the {len(self.stages)} stages, got {self.scales}",
        )
        require(
            all(0 < scale <= 1 for scale in self.scales),
            f"{path}.scales must be in (0, 1], got {self.scales}",
        )

    def scale_of(self, stage: int) -> float:
        """What the stage, counted from 1, multiplies the rate by; 0 where nothing is dropped."""
        return dict(zip(self.stages, self.scales, strict=True)).get(stage, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResNetConfig(Strict):
    """A residual network as it is built (He 2016, arXiv:1512.03385), and each trick on its own.

    The tricks are those of Bag of Tricks (He 2018, arXiv:1812.01187, §4) and Assemble-ResNet (Lee
    2020, arXiv:2001.06268). Holds channels, never width multipliers.
    """

    expansions: ClassVar[dict[str, int]] = {"bottleneck": 4, "basic": 1}
    """Output channels of a block for each inner one."""

    family: Literal["resnet"] = "resnet"
    block: Literal["bottleneck", "basic"] = "bottleneck"
    """Convolutions of 1×1, 3×3, 1×1 or of 3×3, 3×3."""
    repeats: tuple[int, ...]
    """Blocks of each stage; under Big-Little those of the big branch and the merging one."""
    channels: tuple[int, ...]
    """Inner channels of each stage's blocks: 64, 128, 256 and 512 in the paper. The outputs of a
    bottleneck have four times as many."""
    stem: Literal["imagenet", "small"] = "imagenet"
    """`imagenet`: a 7×7 convolution of stride 2 and a max pool. `small`: a 3×3 convolution of
    stride 1 and no pool, for images under about 64 px."""
    stem_channels: int = 64
    deep_stem: bool = False
    """Three 3×3 convolutions, the first two with half the channels, instead of the stem's one
    (Bag of Tricks, ResNet-C)."""
    stride_at: Literal["first-1x1", "3x3"] = "3x3"
    """Which convolution of a bottleneck has the stride: the first, as in the first paper, or the
    3×3 (Bag of Tricks, ResNet-B, and torchvision)."""
    shortcut: Literal["conv", "pooled"] = "conv"
    """Where a block strides: a 1×1 convolution of stride 2, or an average pool and a 1×1
    convolution (Bag of Tricks, ResNet-D); the pool is 2×2, under Big-Little 3×3."""
    attention: Literal["none", "se", "sk"] = "none"
    """Squeeze-and-excitation at the end of each residual branch (Hu 2018, arXiv:1709.01507), or
    selective kernels in place of the 3×3 convolutions that a ReLU follows (Li 2019,
    arXiv:1903.06586, in Assemble-ResNet's form: one convolution of twice the channels)."""
    se_ratio: int = 16
    """Channels for each squeezed one."""
    sk_ratio: int = 2
    """Likewise of selective kernels."""
    sk_minimum: int = 32
    """Squeezed channels that selective kernels have at least."""
    blur: Literal["none", "conv", "conv+pool", "conv+pool+projection"] = "none"
    """What strides by a binomial filter (Zhang 2019, arXiv:1904.11486): the blocks' convolutions,
    the max pool of the stem, the 1×1 convolutions of the shortcuts."""
    blur_size: int = 3
    """Side of that filter: 3 or 5."""
    big_little: BigLittle | None = None
    zero_gamma: bool = False
    """The last batch norm of each residual branch begins with γ = 0: a fresh block returns its
    shortcut (Bag of Tricks, §3.1)."""
    drop_block: DropBlock | None = None
    stochastic_depth: float = 0.0
    """Drop rate of the last residual branch; branch l of L has rate·l/L (Huang 2016,
    arXiv:1603.09382, eq. 4)."""
    dropout: float = 0.0
    """Probability before the classifier."""
    norm_eps: float = 1e-5
    norm_momentum: float = 0.1
    """PyTorch's convention: the weight of the new batch. Assemble-ResNet's published 0.997 is
    0.003 here, which needs thousands of steps before the running statistics mean anything."""
    init: Literal["he", "xavier"] = "he"
    """`he`: convolutions from N(0, 2/fan_out); `xavier`: uniform, as in Bag of Tricks (§2.1)."""
    num_classes: int
    resolution: int
    """Side of the square training and test image, in pixels."""

    def __post_init__(self) -> None:
        self._check_numbers()
        self._check_combinations()
        require(
            self.resolution >= self.total_stride,
            f"model.resolution: {self.resolution} px is below the network's total stride "
            f"{self.total_stride}; use at least {self.total_stride}",
        )
        if self.big_little is not None:
            self._check_big_little(self.big_little)
        if self.blur != "none":
            self._check_blur()

    @property
    def expansion(self) -> int:
        """Output channels of a block for each inner one."""
        return self.expansions[self.block]

    @property
    def stem_stride(self) -> int:
        """From the image to the first stage."""
        return 4 if self.stem == "imagenet" else 1

    @property
    def strides(self) -> tuple[int, ...]:
        """Of each stage, from its input to its output.

        The stages of two branches stride at their end, the last of them not at all: the plain stage
        after it strides at its start.
        """
        more = len(self.repeats) - 1
        return (1, *(2,) * more) if self.big_little is None else (*(2,) * (more - 1), 1, 2)

    @property
    def total_stride(self) -> int:
        """Product of the strides from the image to the pooled map."""
        return self.stem_stride << len(self.repeats) - 1

    def _check_numbers(self) -> None:
        require(bool(self.repeats), "model.repeats: at least one stage is needed")
        require(
            len(self.channels) == len(self.repeats),
            f"model.channels: one number for each of the {len(self.repeats)} stages, "
            f"got {self.channels}",
        )
        for name in ("repeats", "channels"):
            value = getattr(self, name)
            require(min(value) >= 1, f"model.{name} must be positive, got {value}")
        lowest = {"stem_channels": 1, "se_ratio": 1, "sk_ratio": 1, "sk_minimum": 1}
        for name, least in {**lowest, "num_classes": 2}.items():
            value = getattr(self, name)
            require(value >= least, f"model.{name} must be at least {least}, got {value}")
        for name in ("dropout", "stochastic_depth"):
            value = getattr(self, name)
            require(0 <= value < 1, f"model.{name} must be in [0, 1), got {value}")

    def _check_combinations(self) -> None:
        require(
            self.block == "bottleneck" or self.stride_at == "3x3",
            "model.stride_at: a basic block has no 1x1 convolution, got first-1x1; choose 3x3",
        )
        require(
            not self.deep_stem or self.stem_channels % 2 == 0,
            f"model.stem_channels must be even under a deep stem, got {self.stem_channels}",
        )
        count = len(self.repeats)
        stages = () if self.drop_block is None else self.drop_block.stages
        require(
            all(1 <= stage <= count for stage in stages),
            f"model.drop_block.stages: the network has stages 1 to {count}, got {stages}",
        )

    def _check_big_little(self, branches: BigLittle) -> None:
        require(
            len(self.repeats) >= 2 and min(self.repeats[:-1]) >= 2,
            "model.big_little: two stages are needed, and two blocks in each but the last, "
            f"got model.repeats {self.repeats}",
        )
        for channels in (self.stem_channels, *self.channels[:-1]):
            require(
                channels % branches.alpha == 0,
                f"model.big_little.alpha: {channels} channels are no multiple of {branches.alpha}",
            )
        below = self.resolution - self.resolution % self.total_stride
        require(
            self.resolution == below,
            f"model.resolution must be a multiple of {self.total_stride} under Big-Little, whose "
            f"branches would else not match, got {self.resolution}; "
            f"try {below} or {below + self.total_stride}",
        )

    def _check_blur(self) -> None:
        require(self.blur_size in (3, 5), f"model.blur_size must be 3 or 5, got {self.blur_size}")
        has_pool = self.stem == "imagenet" and self.big_little is None
        require(
            self.blur == "conv" or has_pool,
            f"model.blur: the stem has no max pool, got {self.blur}; choose none or conv",
        )
        require(
            self.blur != "conv+pool+projection" or self.shortcut == "conv",
            f"model.blur: pooled shortcuts need none, got {self.blur}; "
            "choose none, conv, conv+pool",
        )
        last = -(-2 * self.resolution // self.total_stride)
        require(
            last > self.blur_size // 2,
            f"model.blur_size: a map of {last} px is too small to be padded for {self.blur_size}",
        )
