"""Each trick as a function from one training configuration to the next, by name. Loads no torch.

A trick knows how to be switched on and how a configuration looks without it, so that a ladder, the
stack less one trick, and one trick alone are all folds over the same table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from trainer.augment.policy import Augmentation
from trainer.config import (
    DistillationConfig,
    EfficientNetConfig,
    MixConfig,
    ResNetConfig,
    Strict,
    TrainConfig,
    WideResNetConfig,
    require,
)
from trainer.errors import ConfigError, unknown_value
from trainer.resnet_config import BigLittle, DropBlock

if TYPE_CHECKING:
    from orchestrator.weights import Pretrained

LARGER_TEST = Fraction(8, 7)
"""256 px over 224, as Assemble-ResNet tests its Big-Little networks."""
LARGE_MAP = 7
"""Side of the last map at 224 px; DropBlock's squares are made for it."""
_MOST_TRICKS = 64
_LONGER = re.compile(r"epochs-(\d{1,3}(?:\.\d{1,2})?)x")
_USUAL_EMA = 0.9999

Slot: TypeAlias = Literal["", "mix", "attention", "stem"]
"""Tricks of one slot take each other's place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrickSettings(Strict):
    """How strong the tricks are: the numbers of their papers."""

    warmup_epochs: float | None = None
    """None means 5, or a tenth of the run where that is less."""
    label_smoothing: float = 0.1
    mixup_alpha: float = 0.2
    cutmix_alpha: float = 1.0
    temperature: float = 1.0
    """Of distillation: 1 in Assemble-ResNet, 20 in Bag of Tricks."""
    distillation_weight: float = 1.0
    """Of the teacher's term beside the labels' of 1."""
    t_squared: bool = True
    """Multiply the teacher's term by the temperature's square, which keeps its gradients' size."""
    keep_prob: float = 0.9
    """Of DropBlock."""
    block_size: int | None = None
    """Of DropBlock; None means 7, or 3 where the last map is smaller than that."""
    se_ratio: int = 16
    sk_ratio: int = 2
    alpha: int = 2
    """Of Big-Little: what the little branch's channels are divided by."""
    beta: int = 4
    """Of Big-Little: what its blocks are divided by."""
    stochastic_depth: float = 0.1
    dropout: float = 0.2
    ema_decay: float | None = None
    """None means the recipe's own, or 0.9999."""
    precision: Literal["fp16", "bf16"] | None = None
    """None means fp16 on a GPU, as in the papers, and bf16 on a CPU."""
    test_resolution: int | None = None
    """None means 8/7 of the train resolution, in whole strides of the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What tricks are carried out with."""

    settings: TrickSettings = TrickSettings()
    policy: Augmentation | None = None
    teacher: Pretrained | None = None


Change: TypeAlias = Callable[[TrainConfig, Means], TrainConfig]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trick:
    """One named switch."""

    name: str
    says: str
    """In a line or two."""
    source: str
    switch: str
    """The field of `TrainConfig` that it sets."""
    on: Change
    off: Change
    slot: Slot = ""
    reads: tuple[str, ...] = ()
    """Its settings."""


def parse_tricks(text: str) -> list[list[Trick]]:
    """`a,b+c`: steps with commas, tricks that are added in one step with a plus.

    Raises: ConfigError for an unknown name or one that stands twice.
    """
    steps = [[find_trick(name.strip()) for name in part.split("+")] for part in _parts(text)]
    names = [trick.name for step in steps for trick in step]
    require(bool(names), "tricks: at least one is needed, such as label-smoothing,mixup")
    require(len(names) <= _MOST_TRICKS, f"tricks: {len(names)} are more than {_MOST_TRICKS}")
    for name in names:
        require(names.count(name) == 1, f"tricks: '{name}' stands twice")
    factors = [Fraction(match[1]) for name in names if (match := _LONGER.fullmatch(name))]
    require(len(factors) <= 1, "tricks: train longer once, by one factor")
    return steps


def _parts(text: str) -> list[str]:
    parts = [part for part in text.split(",") if part.strip()]
    for part in parts:
        require(
            all(name.strip() for name in part.split("+")),
            f"tricks: a trick is missing beside '+' in '{part.strip()[:40]}'",
        )
        require(
            len(part.split()) <= 1 + 2 * part.count("+") and ";" not in part,
            f"tricks: '{part.strip()[:40]}': separate steps by commas, tricks of one step by +",
        )
    return parts


def find_trick(name: str) -> Trick:
    """The trick of that name. Raises: ConfigError."""
    if match := _LONGER.fullmatch(name):
        return longer(Fraction(match[1]), name=name)
    if name not in TRICKS:
        raise unknown_value("tricks", name[:40], [*TRICKS, "epochs-2x"])
    return TRICKS[name]


def longer(factor: Fraction, *, name: str) -> Trick:
    """Training for so many times the epochs. Raises: ConfigError for a factor that is none."""
    require(factor > 1, f"tricks: '{name}' does not train longer; use epochs-2x")
    return Trick(
        name=name,
        says="Train longer. Nothing else changes, so that what others gain beside more epochs "
        "can be told from what more epochs gain.",
        source="He 2018, arXiv:1812.01187, §5.4; Lee 2020, arXiv:2001.06268, E8",
        switch="epochs",
        on=lambda config, _: lasting(config, round(config.epochs * factor)),
        off=lambda config, _: config,
    )


def lasting(config: TrainConfig, epochs: int) -> TrainConfig:
    """The same for so many epochs; a step schedule drops after the same parts of the run."""
    stretched = config.schedule.step_epochs * epochs / config.epochs
    return config.with_(epochs=epochs, schedule=config.schedule.with_(step_epochs=stretched))


def tested_larger(config: TrainConfig) -> TrainConfig:
    """Tested at 8/7 of the train resolution, to the nearest whole stride of the network."""
    model = config.model
    strides = max(round(model.resolution * LARGER_TEST / model.total_stride), 1)
    return _tested_at(config, strides * model.total_stride)


def _tested_at(config: TrainConfig, side: int) -> TrainConfig:
    """Named only where it is another than the network's own: the same training has one key."""
    return config.with_(test_resolution=None if side == config.model.resolution else side)


def taken_places(tricks: Sequence[Trick]) -> list[str]:
    """The tricks in whose place a later one of the list has come."""
    return [
        trick.name
        for number, trick in enumerate(tricks)
        if trick.slot and any(later.slot == trick.slot for later in tricks[number + 1 :])
    ]


def _model(name: str, part: str, **values: Any) -> Change:
    """A change to a residual network. Raises: ConfigError for another network."""

    def change(config: TrainConfig, means: Means) -> TrainConfig:
        _require_resnet(config, name, part)
        return config.with_(model=config.model.with_(**values))

    return change


def _require_resnet(config: TrainConfig, name: str, part: str) -> ResNetConfig:
    model = config.model
    if not isinstance(model, ResNetConfig):
        family = {"efficientnet": "an EfficientNet", "wide-resnet": "a Wide ResNet"}[model.family]
        raise ConfigError(f"tricks: {name}: {family} has no {part}; leave it out")
    return model


def _zero_gamma(config: TrainConfig, wanted: bool) -> TrainConfig:
    model = config.model
    if isinstance(model, WideResNetConfig):
        raise ConfigError(
            "tricks: zero-gamma: a Wide ResNet's blocks do not end in a batch norm; leave it out"
        )
    return config.with_(model=model.with_(zero_gamma=wanted))


def _warmed(config: TrainConfig, means: Means) -> TrainConfig:
    asked = means.settings.warmup_epochs
    epochs = min(5.0, config.epochs / 10) if asked is None else asked
    require(
        epochs < config.epochs,
        f"tricks: warmup: settings.warmup_epochs of {epochs:g} leave nothing of {config.epochs} "
        "epochs; use fewer",
    )
    return config.with_(schedule=config.schedule.with_(warmup_epochs=epochs))


def _scheduled(config: TrainConfig, kind: Literal["cosine", "step"]) -> TrainConfig:
    """Drops after each quarter of the run: epochs 30, 60 and 90 of 120."""
    schedule = config.schedule.with_(kind=kind)
    if kind == "step" and config.schedule.kind != "step":
        schedule = schedule.with_(step_epochs=config.epochs / 4)
    return config.with_(schedule=schedule)


def _mixed(config: TrainConfig, means: Means, *, kind: str, draw: str) -> TrainConfig:
    settings = means.settings
    alpha = settings.cutmix_alpha if kind == "cutmix" else settings.mixup_alpha
    mix = MixConfig(kind=kind, alpha=alpha, draw=draw)  # type: ignore[arg-type]
    return config.with_(mix=mix)


def _mixing(kind: str, draw: str) -> dict[str, Change]:
    return {
        "on": lambda config, means: _mixed(config, means, kind=kind, draw=draw),
        "off": lambda config, _: config.with_(mix=None),
    }


def _distilled(config: TrainConfig, means: Means) -> TrainConfig:
    teacher, settings = means.teacher, means.settings
    if teacher is None:
        raise ConfigError("tricks: distillation: name the teacher with --teacher SOURCE")
    return config.with_(
        distillation=DistillationConfig(
            digest=teacher.digest,
            model=teacher.model,
            mean=teacher.mean,
            std=teacher.std,
            temperature=settings.temperature,
            weight=settings.distillation_weight,
            t_squared=settings.t_squared,
        )
    )


def _drop_blocks(config: TrainConfig, means: Means) -> TrainConfig:
    """In the last two stages."""
    model, settings = _require_resnet(config, "drop-block", "residual stages"), means.settings
    last_map = -(-model.resolution // model.total_stride)
    size = settings.block_size
    if size is None:
        size = 7 if last_map >= LARGE_MAP else 3
    require(
        size <= 2 * LARGE_MAP, f"tricks: drop-block: a square of {size} px is no square of a map"
    )
    stages = tuple(range(max(len(model.repeats) - 1, 1), len(model.repeats) + 1))
    block = DropBlock(
        keep_prob=settings.keep_prob,
        block_size=size,
        stages=stages,
        scales=(0.25, 1.0)[-len(stages) :],
    )
    return config.with_(model=model.with_(drop_block=block))


def _with_policy(config: TrainConfig, means: Means) -> TrainConfig:
    if means.policy is None:
        raise ConfigError("tricks: policy: name it with --policy FILE|PRESET")
    return config.with_(augment=config.augment.with_(policy=means.policy))


def _tested_larger(config: TrainConfig, means: Means) -> TrainConfig:
    asked = means.settings.test_resolution
    if asked is None:
        return tested_larger(config)
    return _tested_at(config, asked)


def _attentive(
    config: TrainConfig, means: Means, kind: Literal["se", "sk"], *, wanted: bool = True
) -> TrainConfig:
    if isinstance(config.model, EfficientNetConfig) and kind == "se":
        raise ConfigError(
            "tricks: se: an EfficientNet has squeeze-and-excitation in every block already; "
            "leave it out"
        )
    model = _require_resnet(config, kind, "residual branch to put it into")
    ratios = {"se_ratio": means.settings.se_ratio, "sk_ratio": means.settings.sk_ratio}
    if not wanted:
        return config.with_(model=model.with_(attention="none"))
    return config.with_(model=model.with_(attention=kind, **ratios))


def _strided(config: TrainConfig, at: Literal["first-1x1", "3x3"]) -> TrainConfig:
    model = _require_resnet(config, "stride-3x3", "bottleneck")
    require(
        model.block == "bottleneck",
        "tricks: stride-3x3: a basic block has no 1x1 convolution to move the stride from; leave "
        "it out, or take --set network=resnet-50-small",
    )
    return config.with_(model=model.with_(stride_at=at))


def _big_little(config: TrainConfig, means: Means) -> TrainConfig:
    """With the plain stem: the deep one made training unstable (Lee 2020, in the authors' code)."""
    model, settings = _require_resnet(config, "big-little", "residual stages"), means.settings
    branches = BigLittle(alpha=settings.alpha, beta=settings.beta)
    return config.with_(model=model.with_(big_little=branches, deep_stem=False))


def _averaged(config: TrainConfig, means: Means) -> TrainConfig:
    asked = means.settings.ema_decay
    decay = _USUAL_EMA if asked is None else asked
    require(decay > 0, "tricks: ema: settings.ema_decay of 0 averages nothing; leave it out")
    return config.with_(ema_decay=decay)


def _dropped(config: TrainConfig, name: str, rate: float) -> TrainConfig:
    model = config.model
    if not hasattr(model, name):
        raise ConfigError(
            f"tricks: {name.replace('_', '-')}: a Wide ResNet has none here; leave it out"
        )
    return config.with_(model=model.with_(**{name: rate}))


_BAG = "He 2018, arXiv:1812.01187"
_ASSEMBLE = "Lee 2020, arXiv:2001.06268"

_TABLE = (
    Trick(
        name="linear-lr",
        says="The peak learning rate grows linearly with the batch: 0.1 for 256 images is 0.4 for "
        "1,024. Without it the rate is the same whatever the batch.",
        source=f"Goyal 2017, arXiv:1706.02677, §2.1; {_BAG}, §3.1",
        switch="optim.fixed_lr",
        on=lambda config, _: config.with_(optim=config.optim.with_(fixed_lr=False)),
        off=lambda config, _: config.with_(optim=config.optim.with_(fixed_lr=True)),
    ),
    Trick(
        name="warmup",
        says="The rate rises linearly from 0 over the first epochs, when the weights are random "
        "and large steps diverge.",
        source=f"Goyal 2017, arXiv:1706.02677, §2.2; {_BAG}, §3.1",
        switch="schedule.warmup_epochs",
        reads=("warmup_epochs",),
        on=_warmed,
        off=lambda config, _: config.with_(schedule=config.schedule.with_(warmup_epochs=0.0)),
    ),
    Trick(
        name="zero-gamma",
        says="The last batch norm of each residual branch begins with γ = 0: a fresh block returns "
        "its shortcut, and the network begins as a shallow one.",
        source=f"{_BAG}, §3.1",
        switch="model.zero_gamma",
        on=lambda config, _: _zero_gamma(config, True),
        off=lambda config, _: _zero_gamma(config, False),
    ),
    Trick(
        name="no-bias-decay",
        says="Weight decay for the weights of convolutions and linear layers alone, not for biases "
        "nor for batch norm's γ and β.",
        source=f"{_BAG}, §3.1",
        switch="optim.decay_norm_and_bias",
        on=lambda config, _: config.with_(
            optim=config.optim.with_(decay_norm_and_bias=False, decay_bias=False)
        ),
        off=lambda config, _: config.with_(optim=config.optim.with_(decay_norm_and_bias=True)),
    ),
    Trick(
        name="mixed-precision",
        says="Forward and backward passes in 16 bits, weights and their updates in 32; with fp16 "
        "the loss is scaled. Meant to cost nothing and to be faster.",
        source=f"Micikevicius 2017, arXiv:1710.03740; {_BAG}, §3.2",
        switch="execution.precision",
        reads=("precision",),
        on=lambda config, means: config.with_(
            execution=config.execution.with_(precision=means.settings.precision or "bf16")
        ),
        off=lambda config, _: config.with_(execution=config.execution.with_(precision="fp32")),
    ),
    Trick(
        name="stride-3x3",
        says="A bottleneck that halves the map does so in its 3×3 convolution, not in the 1×1 "
        "before it, which would not look at three quarters of its input (ResNet-B).",
        source=f"{_BAG}, §4",
        switch="model.stride_at",
        on=lambda config, _: _strided(config, "3x3"),
        off=lambda config, _: _strided(config, "first-1x1"),
    ),
    Trick(
        name="deep-stem",
        says="Three 3×3 convolutions in place of the stem's one of 7×7, or of 3×3 in a network for "
        "small images (ResNet-C).",
        source=f"{_BAG}, §4",
        switch="model.deep_stem",
        on=_model("deep-stem", "stem to deepen", deep_stem=True),
        off=_model("deep-stem", "stem to deepen", deep_stem=False),
        slot="stem",
    ),
    Trick(
        name="pooled-shortcut",
        says="Where a block strides, its shortcut is averaged and then projected, so that all of "
        "its input counts (ResNet-D).",
        source=f"{_BAG}, §4",
        switch="model.shortcut",
        on=_model("pooled-shortcut", "projected shortcuts", shortcut="pooled"),
        off=_model("pooled-shortcut", "projected shortcuts", shortcut="conv"),
    ),
    Trick(
        name="cosine",
        says="The rate falls along half a cosine to 0; without it, it drops to a tenth after each "
        "quarter of the run.",
        source=f"Loshchilov 2016, arXiv:1608.03983; {_BAG}, §5.1",
        switch="schedule.kind",
        on=lambda config, _: _scheduled(config, "cosine"),
        off=lambda config, _: _scheduled(config, "step"),
    ),
    Trick(
        name="label-smoothing",
        says="The right class is asked for with 0.9 and a little, all others with the rest, so "
        "that logits need not grow without end.",
        source=f"Szegedy 2015, arXiv:1512.00567, §7; {_BAG}, §5.2",
        switch="label_smoothing",
        reads=("label_smoothing",),
        on=lambda config, means: config.with_(label_smoothing=means.settings.label_smoothing),
        off=lambda config, _: config.with_(label_smoothing=0.0),
    ),
    Trick(
        name="mixup",
        says="Every image is mixed with another of the batch, and so are their labels; one share "
        "is drawn for the whole batch (type 2).",
        source=f"Zhang 2017, arXiv:1710.09412; {_BAG}, §5.4",
        switch="mix",
        reads=("mixup_alpha",),
        slot="mix",
        **_mixing("mixup", "batch"),
    ),
    Trick(
        name="mixup-type1",
        says="Mixup whose share is drawn for each image by itself, a twice as large reading of the "
        "data set mixed by halves.",
        source=f"{_ASSEMBLE}, table 4",
        switch="mix",
        reads=("mixup_alpha",),
        slot="mix",
        **_mixing("mixup", "sample"),
    ),
    Trick(
        name="cutmix",
        says="A rectangle of every image is another's, and the label is shared by its area.",
        source="Yun 2019, arXiv:1905.04899",
        switch="mix",
        reads=("cutmix_alpha",),
        slot="mix",
        **_mixing("cutmix", "batch"),
    ),
    Trick(
        name="distillation",
        says="The network learns from the labels and from a teacher's probabilities on the very "
        "images that it sees. The teacher is `--teacher`; it knows your classes.",
        source=f"Hinton 2015, arXiv:1503.02531; {_BAG}, §5.3; {_ASSEMBLE}",
        switch="distillation",
        reads=("temperature", "distillation_weight", "t_squared"),
        on=_distilled,
        off=lambda config, _: config.with_(distillation=None),
    ),
    Trick(
        name="drop-block",
        says="Squares of the maps of the last two stages are set to zero in training, more and "
        "more of them towards its end.",
        source=f"Ghiasi 2018, arXiv:1810.12890; {_ASSEMBLE}",
        switch="model.drop_block",
        reads=("keep_prob", "block_size"),
        on=_drop_blocks,
        off=_model("drop-block", "residual stages", drop_block=None),
    ),
    Trick(
        name="policy",
        says="Images are augmented by `--policy`: a published one, or what `search-augment` has "
        "found.",
        source="Cubuk 2018, arXiv:1805.09501, and its heirs",
        switch="augment.policy",
        on=_with_policy,
        off=lambda config, _: config.with_(augment=config.augment.with_(policy=None)),
    ),
    Trick(
        name="ema",
        says="What is evaluated are the weights' moving averages.",
        source="Polyak 1992; Tan & Le 2019, arXiv:1905.11946, §5.2",
        switch="ema_decay",
        reads=("ema_decay",),
        on=_averaged,
        off=lambda config, _: config.with_(ema_decay=0.0),
    ),
    Trick(
        name="test-resolution",
        says="Test images are larger than training crops: 256 px for 224. Objects look larger in "
        "crops, and this makes up for it without any training.",
        source=f"Touvron 2019, arXiv:1906.06423; {_ASSEMBLE}",
        switch="test_resolution",
        reads=("test_resolution",),
        on=_tested_larger,
        off=lambda config, _: config.with_(test_resolution=None),
    ),
    Trick(
        name="se",
        says="Squeeze-and-excitation: the channels of each residual branch are weighted by what "
        "the whole map says.",
        source="Hu 2018, arXiv:1709.01507",
        switch="model.attention",
        reads=("se_ratio",),
        on=lambda config, means: _attentive(config, means, "se"),
        off=lambda config, means: _attentive(config, means, "se", wanted=False),
        slot="attention",
    ),
    Trick(
        name="sk",
        says="Selective kernels in Assemble-ResNet's form: the 3×3 convolution gives two maps, and "
        "each channel takes the better of the two.",
        source=f"Li 2019, arXiv:1903.06586; {_ASSEMBLE}",
        switch="model.attention",
        reads=("sk_ratio",),
        on=lambda config, means: _attentive(config, means, "sk"),
        off=lambda config, means: _attentive(config, means, "sk", wanted=False),
        slot="attention",
    ),
    Trick(
        name="anti-alias",
        says="What strides in a block strides by a small blur, so that a shifted image gives "
        "nearly the same maps.",
        source=f"Zhang 2019, arXiv:1904.11486; {_ASSEMBLE}, config A4",
        switch="model.blur",
        on=_model("anti-alias", "residual block to blur", blur="conv"),
        off=_model("anti-alias", "residual block to blur", blur="none"),
    ),
    Trick(
        name="big-little",
        says="Stages of two branches: a deep one on half the resolution, a thin one on the whole. "
        "With the plain stem, and at resolutions that are whole strides.",
        source=f"Chen 2019, arXiv:1807.03848; {_ASSEMBLE}",
        switch="model.big_little",
        reads=("alpha", "beta"),
        on=_big_little,
        off=_model("big-little", "residual stages", big_little=None),
        slot="stem",
    ),
    Trick(
        name="stochastic-depth",
        says="Whole residual branches are left out in training, the later the more often.",
        source="Huang 2016, arXiv:1603.09382",
        switch="model.stochastic_depth",
        reads=("stochastic_depth",),
        on=lambda config, means: _dropped(
            config, "stochastic_depth", means.settings.stochastic_depth
        ),
        off=lambda config, _: _dropped(config, "stochastic_depth", 0.0),
    ),
    Trick(
        name="dropout",
        says="Features before the classifier are set to zero at random in training.",
        source="Srivastava 2014, JMLR 15:1929",
        switch="model.dropout",
        reads=("dropout",),
        on=lambda config, means: _dropped(config, "dropout", means.settings.dropout),
        off=lambda config, _: _dropped(config, "dropout", 0.0),
    ),
)

TRICKS: dict[str, Trick] = {trick.name: trick for trick in _TABLE}
"""In the order in which one would try them. `epochs-2x` and its like are made by `longer`."""
