"""What a trial that measures inference is told. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from trainer.config import ExecutionConfig, ModelConfig, Strict, require

OBJECTIVE = "measure-speed"
BATCH = 64
"""Images at a time, for throughput."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedNetwork(Strict):
    """A network whose speed is wanted, at its own resolution; what its weights are is no matter."""

    model: ModelConfig = field(metadata={"discriminator": "family"})  # read by the loader
    execution: ExecutionConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedConfig(Strict):
    """Networks that are measured in turn, so that a machine that slows down slows them all."""

    networks: tuple[TimedNetwork, ...]
    threads: int
    device: Literal["cpu", "cuda"] = "cpu"
    again: int = 0
    """Another number measures anew."""

    def __post_init__(self) -> None:
        require(bool(self.networks), "networks: at least one is needed")
        require(self.threads >= 1, f"threads must be at least 1, got {self.threads}")
