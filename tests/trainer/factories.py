"""Tiny training runs, of milliseconds a step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from trainer.config import (
    AugmentConfig,
    BlockStage,
    DataConfig,
    DistillationConfig,
    EfficientNetConfig,
    EpochReport,
    OptimConfig,
    ResNetConfig,
    TrainConfig,
    WideResNetConfig,
)
from trainer.fit import Beat
from trainer.models.build import build
from trainer.models.children import child
from trainer.resnet_config import DropBlock
from trainer.transfer import digest_of

TINY_DATA = DataConfig(dataset="digits", selection_fraction=0.04, train_images=48)


def tiny_model(**changes: Any) -> EfficientNetConfig:
    """Two stages of width 8 for digits at 16 px; its one residual block may be dropped."""
    model = EfficientNetConfig(
        stem_channels=8,
        stem_stride=2,
        stages=(
            BlockStage(kernel=3, stride=1, expand=1, channels=8, repeats=2),
            BlockStage(kernel=3, stride=2, expand=2, channels=8, repeats=1),
        ),
        head_channels=16,
        num_classes=10,
        resolution=16,
    )
    return model.with_(**changes)


def tiny_wide_resnet(**changes: Any) -> WideResNetConfig:
    """The shallowest wide residual network, for digits at 16 px."""
    model = child("wrn-10-1", num_classes=10, resolution=16)
    assert isinstance(model, WideResNetConfig)
    return model.with_(**changes)


def tiny_resnet(**changes: Any) -> ResNetConfig:
    """Two blocks of width 8 for digits at 16 px, of which the second drops squares."""
    model = ResNetConfig(
        block="basic",
        repeats=(1, 1),
        channels=(8, 8),
        stem="small",
        stem_channels=8,
        drop_block=DropBlock(keep_prob=0.5, block_size=3, stages=(2,), scales=(1.0,)),
        num_classes=10,
        resolution=16,
    )
    return model.with_(**changes)


def tiny_teacher(
    *, model: dict[str, Any] | None = None, **changes: Any
) -> tuple[DistillationConfig, Mapping[str, Tensor]]:
    """A network that has opinions, though it never learned anything, and its tensors."""
    config = tiny_model(head_channels=24, dropout=0.5, **(model or {}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        weights = build(config).state_dict()
        weights["classifier.1.weight"].normal_()
    return DistillationConfig(digest=digest_of(weights), model=config).with_(**changes), weights


def tiny_run(**changes: Any) -> TrainConfig:
    """Three epochs of three steps, with everything that draws or averages switched on."""
    config = TrainConfig(
        model=tiny_model(dropout=0.3, stochastic_depth=0.5),
        data=TINY_DATA,
        augment=AugmentConfig(flip=False),
        optim=OptimConfig(lr=0.5),
        epochs=3,
        batch_size=16,
        accumulate=2,
        label_smoothing=0.1,
        ema_decay=0.9,
    )
    return config.with_(**changes)


def timeless(reports: Iterable[EpochReport | Beat]) -> list[EpochReport]:
    """The reports without what a clock said, which is the part that must repeat exactly."""
    return [
        report.with_(seconds=0.0, images_per_second=0.0)
        for report in reports
        if isinstance(report, EpochReport)
    ]
