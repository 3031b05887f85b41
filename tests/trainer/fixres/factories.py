"""Small networks that look trained, and their adaptation to 24 px."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tests.trainer.factories import timeless, tiny_model, tiny_resnet, tiny_run, tiny_wide_resnet
from trainer.config import EpochReport, ModelConfig, TrainConfig
from trainer.data.batches import evaluation_batches
from trainer.data.splits import Splits
from trainer.fixres.adapt import fixres
from trainer.fixres.config import FixResConfig
from trainer.models.build import build
from trainer.precision import memory_format

FAMILIES: dict[str, ModelConfig] = {
    "efficientnet": tiny_model(dropout=0.3, stochastic_depth=0.5),
    "wide-resnet": tiny_wide_resnet(depth=10, channels=(4, 8, 16), stem_channels=4),
    "resnet": tiny_resnet(
        block="bottleneck", repeats=(1, 2), attention="se", se_ratio=4, stochastic_depth=0.5
    ),
    "resnet-of-one-block": tiny_resnet(drop_block=None),
}


def source(family: str = "efficientnet", **changes: Any) -> TrainConfig:
    return tiny_run(model=FAMILIES[family], batch_size=16).with_(**changes)


def adaptation(family: str = "efficientnet", **changes: Any) -> FixResConfig:
    """Three epochs of three steps on digits, which nobody mirrors."""
    config = FixResConfig(
        source=source(family),
        test_resolution=24,
        epochs=3,
        lr=0.05,
        batch_size=16,
        flip=False,
    )
    return config.with_(**changes)


def network(config: TrainConfig, splits: Splits) -> nn.Module:
    """Random weights, but batch norms that have seen images."""
    torch.manual_seed(0)
    model = build(config.model)
    model.train()
    with torch.no_grad():
        for batch in evaluation_batches(
            splits.train, resolution=config.model.resolution, batch_size=16, device="cpu"
        ):
            model(batch.images)
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:  # no γ or β that a mistake could leave as it was
                parameter.add_(0.1 * torch.randn(parameter.shape))
            assert parameter.isfinite().all(), name
    return model.eval().to(memory_format=memory_format(config.execution))


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """Names of the tensors that differ in any bit, or are there only afterwards."""
    return {
        name
        for name, tensor in after.items()
        if name not in before or tensor.numpy().tobytes() != before[name].numpy().tobytes()
    }


def adapted(
    config: FixResConfig, splits: Splits, **more: Any
) -> tuple[nn.Module, list[EpochReport]]:
    """The adapted network and the reports, clocks left out."""
    model = network(config.source, splits)
    return model, timeless(fixres(config, model, splits, **more))
