import subprocess
import sys

import pytest
import torch
from torch import nn

from trainer.config import ExecutionConfig
from trainer.errors import ConfigError
from trainer.models.build import BUILDERS
from trainer.precision import autocast, execution_for, grad_scaler, memory_format

CPU = torch.device("cpu")


@pytest.mark.parametrize("family", ["efficientnet", "wide-resnet"])
@pytest.mark.parametrize(("device", "precision"), [("cpu", "fp32"), ("cuda:1", "bf16")])
def test_the_rule_of_each_family(family: str, device: str, precision: str) -> None:
    expected = ExecutionConfig(precision=precision, channels_last=True, threads=1)
    assert execution_for(family, device) == expected


def test_every_family_that_can_be_built_has_a_rule() -> None:
    for family in BUILDERS:
        execution_for(family, "cpu")


@pytest.mark.parametrize(
    ("family", "device", "message"),
    [("efficientnt", "cpu", "Did you mean 'efficientnet'"), ("efficientnet", "tpu", "cpu, cuda")],
)
def test_without_a_rule_the_choices_are_named(family: str, device: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        execution_for(family, device)


def test_the_rule_and_the_schedule_are_known_without_loading_torch() -> None:
    program = "import sys, trainer.precision, trainer.schedule; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_autocast_computes_in_the_configured_format(precision: str, dtype: torch.dtype) -> None:
    with autocast(ExecutionConfig(precision=precision), CPU):
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype is dtype


@pytest.mark.parametrize(("precision", "scale"), [("fp32", 1.0), ("bf16", 1.0), ("fp16", 65536.0)])
def test_only_fp16_scales_its_loss(precision: str, scale: float) -> None:
    scaler = grad_scaler(ExecutionConfig(precision=precision), CPU)
    assert scaler.scale(torch.ones(())).item() == scale


def test_the_layout_is_a_torch_memory_format() -> None:
    assert memory_format(ExecutionConfig(channels_last=True)) is torch.channels_last
    assert memory_format(ExecutionConfig(channels_last=False)) is torch.contiguous_format
