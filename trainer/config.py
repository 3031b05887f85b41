"""All that one training run can be told. Imports no torch, so that planning stays fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from trainer.augment.policy import Augmentation, PolicySchedule
from trainer.errors import ConfigError
from trainer.model_config import BlockStage as BlockStage
from trainer.model_config import EfficientNetConfig as EfficientNetConfig
from trainer.model_config import ModelConfig as ModelConfig
from trainer.model_config import WideResNetConfig as WideResNetConfig
from trainer.resnet_config import ResNetConfig as ResNetConfig
from trainer.strict import Strict as Strict
from trainer.strict import require as require

RECIPE_VERSION = 1
"""Part of every trial's key: raised whenever the same configuration would train differently."""


_MOST = 1000.0
"""Of a temperature or a weight: beyond lie slips, not settings."""


def _check_normalisation(path: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    require(
        len(mean) == len(std) and len(mean) in (0, 3),
        f"{path}.mean and {path}.std: three channels each, got {mean} and {std}",
    )
    require(not std or min(std) > 0, f"{path}.std must be positive, got {std}")


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
        _check_normalisation("data", self.mean, self.std)
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
    fixed_lr: bool = False
    """`lr` is the peak rate as it stands, whatever the batch."""
    momentum: float = 0.9
    weight_decay: float = 1e-4
    decay_norm_and_bias: bool = False
    """Decay batch-norm parameters and biases too (He 2018, arXiv:1812.01187, §3.1 does not)."""
    decay_bias: bool = False
    """Decay biases, if not batch norm's parameters (Assemble-ResNet, and EfficientNet's code)."""
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
class MixConfig(Strict):
    """Training on mixtures of two images and of their labels, λ : 1 - λ with λ from Beta(α, α)."""

    kind: Literal["mixup", "cutmix"] = "mixup"
    """`mixup`: every pixel is a mixture (Zhang 2017, arXiv:1710.09412, §2). `cutmix`: a box of the
    second image covers the first, and λ is what is left of the first (Yun 2019, arXiv:1905.04899,
    §3.1)."""
    alpha: float = 0.2
    """0.2 in Bag of Tricks (He 2018, arXiv:1812.01187, §5.4) and Assemble-ResNet; 1 in CutMix."""
    draw: Literal["batch", "sample"] = "batch"
    """`batch`: one λ a batch, whose images are mixed with each other. `sample`: a λ (and a box) for
    each image, whose partner comes from another pass over the training images, so that twice as
    many are read: Assemble-ResNet's type 1 (Lee 2020, arXiv:2001.06268)."""
    probability: float = 1.0
    """How often a batch, or each image of it, is mixed at all."""

    def __post_init__(self) -> None:
        require(self.alpha > 0, f"mix.alpha must be positive, got {self.alpha}")
        require(
            0 < self.probability <= 1,
            f"mix.probability must be in (0, 1], got {self.probability}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DistillationConfig(Strict):
    """A teacher that the student imitates (Hinton 2015, arXiv:1503.02531, §2).

    With the logits z of the student and v of the teacher for the same image, which both see cropped
    and mixed as it is, the loss is::

        CE(z, labels) + weight · T² · CE(z/T, softmax(v/T))

    The labels are smoothed and mixed as configured, the teacher's answers are neither. That is the
    sum of Bag of Tricks (He 2018, arXiv:1812.01187, eq. 6) and Assemble-ResNet; the released code
    of the former halves both terms, which is half the learning rate. The latter asks its teacher
    about plain images beforehand and mixes the answers; here it sees the crop that is learned from.
    """

    digest: str
    """Of the teacher's tensors, see `trainer.transfer`; where they lie is the caller's to know."""
    model: ModelConfig = field(metadata={"discriminator": "family"})  # read by the loader
    """The teacher's network; images are resized to its resolution where that is another."""
    mean: tuple[float, ...] = ()
    """What its images are normalised by, as `data.mean`; () means by the same as the student's."""
    std: tuple[float, ...] = ()
    temperature: float = 1.0
    """T; 20 in Bag of Tricks, 1 in Assemble-ResNet."""
    weight: float = 1.0
    """Of the teacher's term; that of the labels is 1."""
    t_squared: bool = True
    """Off, the teacher's term goes without T², and its gradients shrink with 1/T²."""

    def __post_init__(self) -> None:
        require(bool(self.digest), "distillation.digest: the teacher's weights have no name")
        _check_normalisation("distillation", self.mean, self.std)
        for name in ("temperature", "weight"):
            value = getattr(self, name)
            require(
                0 < value <= _MOST,
                f"distillation.{name} must be positive, up to {_MOST:g}, got {value}",
            )


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
    mix: MixConfig | None = None
    distillation: DistillationConfig | None = None
    test_resolution: int | None = None
    """Side in pixels at which the held-out images are evaluated, cropped by the same fraction; None
    means the network's own (Assemble-ResNet: 256 for 224, arXiv:2001.06268)."""
    test_crop_fraction: float | None = None
    """The side of that crop as a part of the resized image's shorter side; None means what suits
    the data set, see `default_crop_fraction`."""
    seed: int = 0

    @property
    def evaluated_at(self) -> int:
        """Side of a held-out image in pixels, as the network sees it."""
        return self.model.resolution if self.test_resolution is None else self.test_resolution

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
        fraction = self.test_crop_fraction
        require(
            fraction is None or 0 < fraction <= 1,
            f"test_crop_fraction must be in (0, 1], got {fraction}",
        )
        require(0 <= self.ema_decay < 1, f"ema_decay must be in [0, 1), got {self.ema_decay}")
        self._check_micro_batch()
        self._check_teacher()
        self._check_test_resolution()

    def _check_micro_batch(self) -> None:
        """Selective kernels normalise pooled features, of which one image has one a channel."""
        attentive = isinstance(self.model, ResNetConfig) and self.model.attention == "sk"
        require(
            not attentive or self.batch_size >= 2 * self.accumulate,
            f"accumulate: selective kernels need two images at a time, got {self.accumulate} "
            f"micro-batches of {self.batch_size} images",
        )

    def _check_teacher(self) -> None:
        if self.distillation is None:
            return
        taught, known = self.model.num_classes, self.distillation.model.num_classes
        require(
            taught == known,
            "distillation.model.num_classes: the teacher must know the student's classes, "
            f"got {known}; choose a teacher of {taught}",
        )

    def _check_test_resolution(self) -> None:
        """What the network cannot be trained at, it cannot be tested at either."""
        if self.test_resolution is None:
            return
        try:
            self.model.with_(resolution=self.test_resolution)
        except ConfigError as error:
            said = str(error).replace("model.resolution", "test_resolution")
            raise ConfigError(said) from None


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
