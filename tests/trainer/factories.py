"""Tiny training runs, of milliseconds a step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trainer.config import (
    AugmentConfig,
    BlockStage,
    DataConfig,
    EfficientNetConfig,
    EpochReport,
    OptimConfig,
    TrainConfig,
    WideResNetConfig,
)
from trainer.fit import Beat
from trainer.models.children import child

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
