"""What a trial that measures inference is told. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from trainer.config import ExecutionConfig, ModelConfig, Strict

OBJECTIVE = "measure-speed"
BATCH = 64
"""Images at a time, for throughput."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedConfig(Strict):
    """A network whose speed is wanted, at its own resolution; what its weights are is no matter."""

    model: ModelConfig = field(metadata={"discriminator": "family"})  # read by the loader
    execution: ExecutionConfig
    device: Literal["cpu", "cuda"] = "cpu"
