"""The ladders of two papers: network, recipe and steps as printed. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from orchestrator.ablation.changes import lasting
from orchestrator.ablation.ladders import LARGE_BATCH, LONGER, Step
from orchestrator.ablation.trick import Means, Trick, TrickSettings
from orchestrator.ablation.tricks import TRICKS
from trainer.augment.policy import Augmentation
from trainer.augment.presets import autoaugment_imagenet, bag_of_tricks_color
from trainer.config import (
    AugmentConfig,
    DataConfig,
    ExecutionConfig,
    OptimConfig,
    ResNetConfig,
    ScheduleConfig,
    TrainConfig,
)
from trainer.data.defaults import NOT_MIRRORED
from trainer.errors import unknown_value
from trainer.precision import execution_for
from trainer.resnet_config import BigLittle

DEEPER = "resnet-152"
_IMAGENET_MEAN = (123.68 / 255, 116.779 / 255, 103.939 / 255)
_IMAGENET_STD = (58.393 / 255, 57.12 / 255, 57.375 / 255)
_ASSEMBLE_MEAN = (123.68 / 255, 116.78 / 255, 103.94 / 255)
_UNDIVIDED = (1 / 255, 1 / 255, 1 / 255)
"""Assemble-ResNet subtracts the mean from pixels of 0 to 255 and divides by nothing."""
_OF_50 = (3, 4, 6, 3)
_OF_152 = (5, 12, 30, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A paper's ladder."""

    name: str
    source: str
    network: str
    resolution: int
    epochs: int
    """Of its first rung."""
    recipe: Callable[[ResNetConfig, str, str], TrainConfig]
    """From the network, the data set and the kind of device."""
    steps: tuple[Step, ...]
    """With the paper's own epochs."""
    settings: TrickSettings
    policy: Augmentation | None = None
    """What the trick of that name is, unless `--policy` says otherwise."""

    def steps_from(self, base: TrainConfig) -> tuple[Step, ...]:
        """The steps, their epochs in the paper's proportion to the base's."""
        share = Fraction(base.epochs, self.epochs)
        return tuple(_stretched(step, share) for step in self.steps)


def find_preset(name: str) -> Preset:
    """The ladder of that name. Raises: ConfigError."""
    if name not in PRESETS:
        raise unknown_value("preset", name, PRESETS)
    return PRESETS[name]


def _stretched(step: Step, share: Fraction) -> Step:
    epochs = None if step.epochs is None else max(1, round(step.epochs * share))
    longer = any(trick.name == LONGER for trick in step.adds)
    if epochs is None or not longer:
        return replace(step, epochs=epochs)
    adds = tuple(_longer(epochs) if trick.name == LONGER else trick for trick in step.adds)
    return replace(step, adds=adds, epochs=None)  # here the epochs are the trick


def _longer(epochs: int) -> Trick:
    return Trick(
        name=LONGER,
        says="Train longer; nothing else changes.",
        source="Lee 2020, arXiv:2001.06268, E8",
        switch="epochs",
        on=lambda config, _: lasting(config, epochs),
        off=lambda config, _: config,
    )


def _large_batch(config: TrainConfig, means: Means) -> TrainConfig:
    """1,024 images where the baseline has its 256."""
    return config.with_(batch_size=4 * config.batch_size)


def _of_152_layers(config: TrainConfig, means: Means) -> TrainConfig:
    """The blocks of Big-Little's 152 layers, with α = 1 and β = 2; another network stays."""
    model = config.model
    assert isinstance(model, ResNetConfig)
    if model.repeats != _OF_50:
        return config
    branches = None if model.big_little is None else BigLittle(alpha=1, beta=2)
    return config.with_(model=model.with_(repeats=_OF_152, big_little=branches))


_LARGE_BATCH = Trick(
    name=LARGE_BATCH,
    says="Batches of four times as many images: 1,024.",
    source="He 2018, arXiv:1812.01187, §3.1",
    switch="batch_size",
    on=_large_batch,
    off=lambda config, _: config,
)
_DEEPER = Trick(
    name=DEEPER,
    says="152 layers in place of 50.",
    source="Lee 2020, arXiv:2001.06268, E12",
    switch="model.repeats",
    on=_of_152_layers,
    off=lambda config, _: config,
)


def _bag_of_tricks(network: ResNetConfig, dataset: str, device: str) -> TrainConfig:
    """The baseline of §2: batches of 256, a step schedule, all parameters decayed.

    At 256 images the linear rule leaves the rate as it is. It stands here all the same, so that the
    ladder keeps its proportions where the baseline is given other batches.
    """
    first: Literal["first-1x1", "3x3"] = "first-1x1" if network.block == "bottleneck" else "3x3"
    return TrainConfig(
        model=network.with_(init="xavier", stride_at=first),
        data=DataConfig(dataset=dataset, mean=_IMAGENET_MEAN, std=_IMAGENET_STD),
        augment=AugmentConfig(
            crop="random-resized",
            scale=(0.08, 1.0),
            flip=dataset not in NOT_MIRRORED,
            policy=bag_of_tricks_color(),
        ),
        optim=OptimConfig(lr=0.1, weight_decay=1e-4, decay_norm_and_bias=True),
        schedule=ScheduleConfig(kind="step", step_epochs=30.0, step_factor=0.1),
        execution=execution_for(network.family, device).with_(precision="fp32"),
        epochs=120,
        batch_size=256,
    )


def _assemble_resnet(network: ResNetConfig, dataset: str, device: str) -> TrainConfig:
    """E0: ResNet-50 v1.5 with zero γ, in batches of 1,024, along a cosine."""
    execution: ExecutionConfig = execution_for(network.family, device)
    precision: Literal["fp16", "fp32"] = "fp16" if device == "cuda" else "fp32"
    return TrainConfig(
        model=network.with_(zero_gamma=True, norm_momentum=0.003),
        data=DataConfig(dataset=dataset, mean=_ASSEMBLE_MEAN, std=_UNDIVIDED),
        augment=AugmentConfig(
            crop="random-resized", scale=(0.05, 1.0), flip=dataset not in NOT_MIRRORED
        ),
        optim=OptimConfig(lr=0.1, weight_decay=1e-4, decay_bias=True),
        schedule=ScheduleConfig(kind="cosine", warmup_epochs=5.0),
        execution=execution.with_(precision=precision),
        epochs=120,
        batch_size=1024,
    )


def _adding(*names: str) -> tuple[Trick, ...]:
    return tuple(TRICKS[name] for name in names)


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="assemble-resnet",
            source="Lee 2020, arXiv:2001.06268, v1, table 7",
            network="resnet-50",
            resolution=224,
            epochs=120,
            recipe=_assemble_resnet,
            steps=(
                Step(name="E0"),
                Step(name="E1", adds=_adding("deep-stem", "pooled-shortcut")),
                Step(name="E2", adds=_adding("label-smoothing")),
                Step(name="E3", adds=_adding("mixup-type1"), epochs=200),
                Step(name="E4", adds=_adding("se")),
                Step(name="E5", adds=_adding("drop-block"), epochs=270),
                Step(name="E6", adds=_adding("sk")),
                Step(name="E7", adds=_adding("distillation")),
                Step(name="E8", adds=(_longer(600),), epochs=600),
                Step(
                    name="E9", adds=_adding("big-little"), tests_larger=True, test_crop=(256, 292)
                ),
                Step(name="E10", adds=_adding("anti-alias")),
                Step(name="E11", adds=_adding("policy")),
                Step(name="E12", adds=(_DEEPER,), test_crop=(256, 257)),
            ),
            settings=TrickSettings(warmup_epochs=5.0),
            policy=autoaugment_imagenet(mapping="tpu"),
        ),
        Preset(
            name="bag-of-tricks",
            source="He 2018, arXiv:1812.01187, tables 3 to 6",
            network="resnet-50",
            resolution=224,
            epochs=120,
            recipe=_bag_of_tricks,
            steps=(
                Step(name="baseline"),
                Step(name="linear-lr", adds=(_LARGE_BATCH, TRICKS["linear-lr"])),
                Step(name="warmup", adds=_adding("warmup")),
                Step(name="zero-gamma", adds=_adding("zero-gamma")),
                Step(name="no-bias-decay", adds=_adding("no-bias-decay")),
                Step(name="mixed-precision", adds=_adding("mixed-precision")),
                Step(name="B", adds=_adding("stride-3x3")),
                Step(name="C", adds=_adding("deep-stem")),
                Step(name="D", adds=_adding("pooled-shortcut")),
                Step(name="cosine", adds=_adding("cosine")),
                Step(name="label-smoothing", adds=_adding("label-smoothing")),
                Step(name="distillation", adds=_adding("distillation")),
                Step(name="mixup", adds=_adding("mixup"), over="label-smoothing", epochs=200),
                Step(name="distillation+mixup", adds=_adding("distillation"), over="mixup"),
            ),
            settings=TrickSettings(warmup_epochs=5.0, temperature=20.0),
        ),
    )
}
