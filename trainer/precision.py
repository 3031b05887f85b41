"""Number formats, memory layout and threads. Importing it loads no torch: plans ask here too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.config import ExecutionConfig
from trainer.errors import unknown_value

if TYPE_CHECKING:
    import torch
    from torch.amp.grad_scaler import GradScaler

_RULE = {
    ("efficientnet", "cpu"): ExecutionConfig(precision="fp32", channels_last=True, threads=1),
    ("efficientnet", "cuda"): ExecutionConfig(precision="bf16", channels_last=True, threads=1),
    ("wide-resnet", "cpu"): ExecutionConfig(precision="fp32", channels_last=True, threads=1),
    ("wide-resnet", "cuda"): ExecutionConfig(precision="bf16", channels_last=True, threads=1),
    ("resnet", "cpu"): ExecutionConfig(precision="fp32", channels_last=True, threads=1),
    ("resnet", "cuda"): ExecutionConfig(precision="bf16", channels_last=True, threads=1),
}
"""For (family, kind of device). EfficientNets on CPUs were measured at 32, 128 and 224 px, which
agree: channels_last trains them 1.1 to 2 times as fast as the other layout, and bf16, whose
depthwise convolutions are slow, 0.2 to 0.9 times as fast as fp32. A second trial gains more than a
second thread. Residual networks, wide or not, are treated alike, unmeasured."""


def execution_for(family: str, device: str) -> ExecutionConfig:
    """How a family of networks is best trained on a device (`cpu`, `cuda`, `cuda:1`).

    A fixed rule rather than a probe, since its answer is part of every trial's key: a busy moment
    must not give the same trial another name.

    Raises: ConfigError for a family or a kind of device without a rule.
    """
    kind = device.partition(":")[0]
    if (family, kind) in _RULE:
        return _RULE[family, kind]
    families = dict.fromkeys(name for name, _ in _RULE)
    if family not in families:
        raise unknown_value("model.family", family, families)
    raise unknown_value("device", device, dict.fromkeys(kind for _, kind in _RULE))


def autocast(execution: ExecutionConfig, device: torch.device) -> torch.autocast:
    """A context in which forward passes run in the configured precision; weights stay float32."""
    import torch

    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    return torch.autocast(
        device.type, dtype=dtypes[execution.precision], enabled=execution.precision != "fp32"
    )


def grad_scaler(execution: ExecutionConfig, device: torch.device) -> GradScaler:
    """Loss scaling for fp16, whose gradients underflow (Micikevicius 2017, arXiv:1710.03740, §3.2).

    For the other formats it passes everything through.
    """
    from torch.amp.grad_scaler import GradScaler

    return GradScaler(device.type, enabled=execution.precision == "fp16")


def memory_format(execution: ExecutionConfig) -> torch.memory_format:
    """The layout of weights and images."""
    import torch

    return torch.channels_last if execution.channels_last else torch.contiguous_format
