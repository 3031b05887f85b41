"""What the tricks change, each from one training configuration to the next. Loads no torch."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

from orchestrator.ablation.trick import Change, Means
from trainer.config import (
    DistillationConfig,
    EfficientNetConfig,
    MixConfig,
    ResNetConfig,
    TrainConfig,
    WideResNetConfig,
    require,
)
from trainer.errors import ConfigError
from trainer.resnet_config import BigLittle, DropBlock

LARGER_TEST = Fraction(8, 7)
"""256 px over 224, as Assemble-ResNet tests its Big-Little networks."""
LARGE_MAP = 7
"""Side of the last map at 224 px; DropBlock's squares are made for it."""
_USUAL_EMA = 0.9999


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


def network_with(name: str, part: str, **values: Any) -> Change:
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


def zero_gamma(config: TrainConfig, wanted: bool) -> TrainConfig:
    """The last batch norm of each residual branch begins with γ = 0, or with 1."""
    model = config.model
    if isinstance(model, WideResNetConfig):
        raise ConfigError(
            "tricks: zero-gamma: a Wide ResNet's blocks do not end in a batch norm; leave it out"
        )
    return config.with_(model=model.with_(zero_gamma=wanted))


def warmed(config: TrainConfig, means: Means) -> TrainConfig:
    """A linear warm-up, of a tenth of a short run."""
    asked = means.settings.warmup_epochs
    epochs = min(5.0, config.epochs / 10) if asked is None else asked
    require(
        epochs < config.epochs,
        f"tricks: warmup: settings.warmup_epochs of {epochs:g} leave nothing of {config.epochs} "
        "epochs; use fewer",
    )
    return config.with_(schedule=config.schedule.with_(warmup_epochs=epochs))


def scheduled(config: TrainConfig, kind: Literal["cosine", "step"]) -> TrainConfig:
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


def mixing(kind: str, draw: str) -> dict[str, Change]:
    """How images are mixed, and how they are not."""
    return {
        "on": lambda config, means: _mixed(config, means, kind=kind, draw=draw),
        "off": lambda config, _: config.with_(mix=None),
    }


def distilled(config: TrainConfig, means: Means) -> TrainConfig:
    """With a teacher. Raises: ConfigError where there is none."""
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


def drop_blocks(config: TrainConfig, means: Means) -> TrainConfig:
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


def with_policy(config: TrainConfig, means: Means) -> TrainConfig:
    """With a policy. Raises: ConfigError where there is none."""
    if means.policy is None:
        raise ConfigError("tricks: policy: name it with --policy FILE|PRESET")
    return config.with_(augment=config.augment.with_(policy=means.policy))


def tested_at(config: TrainConfig, means: Means) -> TrainConfig:
    """Tested at the resolution that was asked for, else at a larger one."""
    asked = means.settings.test_resolution
    if asked is None:
        return tested_larger(config)
    return _tested_at(config, asked)


def attentive(
    config: TrainConfig, means: Means, kind: Literal["se", "sk"], *, wanted: bool = True
) -> TrainConfig:
    """Squeeze-and-excitation or selective kernels in every block, or neither."""
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


def strided(config: TrainConfig, at: Literal["first-1x1", "3x3"]) -> TrainConfig:
    """A bottleneck strides in this convolution. Raises: ConfigError for a basic block."""
    model = _require_resnet(config, "stride-3x3", "bottleneck")
    require(
        model.block == "bottleneck",
        "tricks: stride-3x3: a basic block has no 1x1 convolution to move the stride from; leave "
        "it out, or take --set network=resnet-50-small",
    )
    return config.with_(model=model.with_(stride_at=at))


def big_little(config: TrainConfig, means: Means) -> TrainConfig:
    """With the plain stem: the deep one made training unstable (Lee 2020, in the authors' code)."""
    model, settings = _require_resnet(config, "big-little", "residual stages"), means.settings
    branches = BigLittle(alpha=settings.alpha, beta=settings.beta)
    return config.with_(model=model.with_(big_little=branches, deep_stem=False))


def averaged(config: TrainConfig, means: Means) -> TrainConfig:
    """What is evaluated are moving averages."""
    asked = means.settings.ema_decay
    decay = _USUAL_EMA if asked is None else asked
    require(decay > 0, "tricks: ema: settings.ema_decay of 0 averages nothing; leave it out")
    return config.with_(ema_decay=decay)


def dropped(config: TrainConfig, name: str, rate: float) -> TrainConfig:
    """Dropout or stochastic depth at this rate."""
    model = config.model
    if not hasattr(model, name):
        raise ConfigError(
            f"tricks: {name.replace('_', '-')}: a Wide ResNet has none here; leave it out"
        )
    return config.with_(model=model.with_(**{name: rate}))
