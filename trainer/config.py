"""All that one training run can be told. Imports no torch, so that planning stays fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import ClassVar, Literal, TypeAlias

from trainer.augment.policy import Augmentation, PolicySchedule
from trainer.resnet_config import ResNetConfig as ResNetConfig
from trainer.strict import Strict as Strict
from trainer.strict import require as require

RECIPE_VERSION = 1
"""Part of every trial's key: raised whenever the same configuration would train differently."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig(Strict):
    """What is learned from, and how it is divided."""

    dataset: str = "digits"
    """A name (`digits`, a torchvision set) or the path of an image folder. Where the images lie
    does not enter a trial's key; what they show does."""
    selection_fraction: float = 0.2
    """Part of the training split set aside to select on, where the set brings no split for it."""
    reporting_fraction: float = 0.2
    """Part set aside to report on, where the set brings neither a validation nor a test split."""
    split_seed: int = 0
    train_images: int = 0
    """Train on a stratified subset of this many images; 0 means all."""
    evaluate_on: Literal["selection", "reporting"] = "selection"
    mean: tuple[float, ...] = ()
    """What images are normalised by, per channel, as fractions of full brightness; () means the
    training images' own. Weights from elsewhere want what they were trained with."""
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        require(
            len(self.mean) == len(self.std) and len(self.mean) in (0, 3),
            f"data.mean and data.std: three channels each, got {self.mean} and {self.std}",
        )
        require(not self.std or min(self.std) > 0, f"data.std must be positive, got {self.std}")
        for name in ("selection_fraction", "reporting_fraction"):
            value = getattr(self, name)
            require(0 < value < 1, f"data.{name} must be between 0 and 1, got {value}")
        require(
            self.train_images >= 0,
            f"data.train_images must not be negative, got {self.train_images}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig(Strict):
    """How a training image is varied, in batches on the training device."""

    crop: Literal["none", "pad", "random-resized"] = "pad"
    """`pad`: resize, pad by an eighth of the side, crop at random. `random-resized`: a random part
    of the image, resized."""
    scale: tuple[float, float] = (0.08, 1.0)
    """Range of a random-resized crop's share of the image area."""
    ratio: tuple[float, float] = (0.75, 4 / 3)
    """Range of its aspect ratio, drawn log-uniformly."""
    flip: bool = True
    """Mirror left to right with probability one half; wrong for digits and letters."""
    policy: Augmentation | None = None
    """What is done to the cropped image before it is normalised; a schedule is stretched to the
    epochs of the run."""

    def __post_init__(self) -> None:
        low, high = self.scale
        require(0 < low <= high <= 1, f"augment.scale must be within (0, 1], got {self.scale}")
        low, high = self.ratio
        require(0 < low <= high, f"augment.ratio must be positive and ordered, got {self.ratio}")

    def over(self, epochs: int) -> AugmentConfig:
        """The same for a run of so many epochs, to which a schedule is stretched."""
        if not isinstance(self.policy, PolicySchedule):
            return self
        return self.with_(policy=self.policy.stretched(epochs))


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimConfig(Strict):
    """The optimizer (`sgd` with Nesterov momentum, or `rmsprop` in TensorFlow's form)."""

    optimizer: Literal["sgd", "rmsprop"] = "sgd"
    lr: float = 0.1
    """Peak learning rate for a batch of 256; scaled linearly with the batch (Goyal 2017,
    arXiv:1706.02677)."""
    momentum: float = 0.9
    weight_decay: float = 1e-4
    decay_norm_and_bias: bool = False
    """Decay batch-norm parameters and biases too (He 2018, arXiv:1812.01187, §3.1 does not)."""
    rmsprop_decay: float = 0.9
    rmsprop_eps: float = 1e-3
    """Inside the square root, as TensorFlow has it (facts differ from torch's own RMSprop)."""

    def __post_init__(self) -> None:
        require(self.lr > 0, f"optim.lr must be positive, got {self.lr}")
        require(0 <= self.momentum < 1, f"optim.momentum must be in [0, 1), got {self.momentum}")
        require(
            self.weight_decay >= 0,
            f"optim.weight_decay must not be negative, got {self.weight_decay}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig(Strict):
    """The learning rate over time; linear warm-up, then the named decay, set per step."""

    kind: Literal["cosine", "step", "exponential"] = "cosine"
    warmup_epochs: float = 0.0
    step_epochs: float = 30.0
    """`step`: epochs between drops."""
    step_factor: float = 0.1
    exponential_epochs: float = 2.4
    """`exponential`: epochs between drops by `exponential_factor` (Tan & Le 2019, §5.2)."""
    exponential_factor: float = 0.97

    def __post_init__(self) -> None:
        require(
            self.warmup_epochs >= 0,
            f"schedule.warmup_epochs must not be negative, got {self.warmup_epochs}",
        )
        for name in ("step_epochs", "exponential_epochs"):
            value = getattr(self, name)
            require(value > 0, f"schedule.{name} must be positive, got {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionConfig(Strict):
    """How the arithmetic is done. Part of the key: it moves the last digits of every result."""

    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    channels_last: bool = True
    threads: int = 1
    """CPU threads of one trial."""

    def __post_init__(self) -> None:
        require(self.threads >= 1, f"execution.threads must be at least 1, got {self.threads}")


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialWeights(Strict):
    """What training begins from instead of chance."""

    digest: str
    """Of the tensors, see `trainer.transfer`; where they lie is the caller's to know."""
    keep_head: bool = False
    """Take the classifier over too; else it is a new one, drawn from the seed."""
    frozen: int = 0
    """So many parts of the network, from the stem on, keep their weights and batch statistics; of
    an EfficientNet the stem, every stage and the head's convolution are one each."""

    def __post_init__(self) -> None:
        require(self.frozen >= 0, f"initial.frozen must not be negative, got {self.frozen}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig(Strict):
    """One training run, complete: the same configuration on the same data gives the same model."""

    model: ModelConfig = field(metadata={"discriminator": "family"})  # read by the loader
    data: DataConfig = DataConfig()
    augment: AugmentConfig = AugmentConfig()
    optim: OptimConfig = OptimConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    execution: ExecutionConfig = ExecutionConfig()
    epochs: int = 10
    batch_size: int = 128
    """Images per optimizer step."""
    accumulate: int = 1
    """Micro-batches per optimizer step; batch norm sees the micro-batch."""
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    """Decay per step of the averaged weights that are evaluated; 0 evaluates the raw weights."""
    initial: InitialWeights | None = None
    """None draws all weights from the seed."""
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.epochs >= 1, f"epochs must be at least 1, got {self.epochs}")
        require(self.batch_size >= 2, f"batch_size must be at least 2, got {self.batch_size}")
        require(
            1 <= self.accumulate <= self.batch_size,
            f"accumulate must be between 1 and batch_size, got {self.accumulate}",
        )
        require(
            0 <= self.label_smoothing < 1,
            f"label_smoothing must be in [0, 1), got {self.label_smoothing}",
        )
        require(0 <= self.ema_decay < 1, f"ema_decay must be in [0, 1), got {self.ema_decay}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochReport(Strict):
    """What one epoch of training yields."""

    epoch: int
    """Epochs finished, from 1."""
    train_loss: float
    top1: float
    """Fraction of the evaluation images whose label is the first guess; of the averaged weights
    if there are any."""
    top5: float
    """Fraction whose label is among the first five (or all, if there are fewer classes)."""
    loss: float
    """Mean cross-entropy on the evaluation images, without smoothing."""
    lr: float
    """Learning rate of the epoch's last step."""
    seconds: float
    """Wall time of training and evaluation."""
    images_per_second: float
    """Training throughput, evaluation excluded."""
    recall: tuple[float, ...] = ()
    """Per class, in the order of the data set's class names; only after the last epoch."""
    num_images: int = 0
    """Evaluation images behind the scores."""
    correct: str = ""
    """Which of them were answered right: a bit each, most significant first, as hexadecimal; only
    after the last epoch. Comparing runs on the same images needs no more than this."""
