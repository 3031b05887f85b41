"""How many images of a batch fit into memory at once; the batch of a step stays what it is."""

from __future__ import annotations

from functools import lru_cache

from orchestrator.history import Status, Trial
from trainer.config import TrainConfig

MARGIN = 1.25
"""What the libraries take beside the tensors; measured 0.97 to 1.17 on a CPU."""
SMALLEST = 2
"""Batch norm in training has nothing to average over a single image's last map."""
_OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError", "can't allocate memory", "out of memory")


@lru_cache(maxsize=256)
def step_bytes(config: TrainConfig) -> int:
    """What a step takes at its peak, see `trainer.memory`."""
    from trainer.memory import training_bytes

    return training_bytes(config)


def micro_batch(config: TrainConfig) -> int:
    """Images that batch norm sees at once."""
    return -(-config.batch_size // config.accumulate)


def halved(config: TrainConfig) -> TrainConfig | None:
    """The same step in micro-batches half as large; None where they would be too small."""
    smaller = config.accumulate * 2
    if config.batch_size // smaller < SMALLEST:
        return None
    return config.with_(accumulate=smaller)


def fitted(config: TrainConfig, limit: int | None) -> TrainConfig:
    """The largest micro-batches, halved as often as it takes, whose step the limit has room for.

    The smallest possible where none has; as configured where no limit is known.
    """
    while limit is not None and MARGIN * step_bytes(config) > limit:
        smaller = halved(config)
        if smaller is None:
            break
        config = smaller
    return config


def too_large(config: TrainConfig, limit: int | None) -> bool:
    """Whether not even this fits."""
    return limit is not None and MARGIN * step_bytes(config) > limit


def ran_out(trial: Trial | None) -> bool:
    """Whether a trial failed for want of memory."""
    if trial is None or trial.status is not Status.FAILED:
        return False
    return any(word in trial.error for word in _OUT_OF_MEMORY)
