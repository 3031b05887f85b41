"""The model that a finished run has left."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from trainer.checkpoint import Checkpointing, load_run
from trainer.config import TrainConfig
from trainer.errors import CheckpointError
from trainer.state import TrainingState


def trained_model(
    folder: Path, config: TrainConfig, *, device: torch.device | str = "cpu"
) -> nn.Module:
    """The evaluated model (averaged weights, if there are any) of the run saved in the folder.

    Raises: CheckpointError when the run is not there, is another one or has not ended.
    """
    device = torch.device(device)
    path = Checkpointing(directory=folder).last
    saved = load_run(path, config=config)
    if len(saved.history) < config.epochs:
        raise CheckpointError(f"{path}: trained for {len(saved.history)} of {config.epochs} epochs")
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        state = TrainingState(config, device=device)
    state.load_outcome(saved.state)
    return state.evaluated
