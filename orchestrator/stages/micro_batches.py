"""How many images of a batch fit into memory at once; the batch of a step stays what it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import cast

from orchestrator.history import History, Status, Trial
from orchestrator.stages.race import is_settled
from orchestrator.trial import TrialSpec
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


def told(spec: TrialSpec) -> TrainConfig:
    """What a trial that trains is told."""
    return cast("TrainConfig", spec.config)


def halved(config: TrainConfig) -> TrainConfig | None:
    """The same step in micro-batches half as large; None where they would be too small."""
    smaller = config.accumulate * 2
    if config.batch_size // smaller < SMALLEST:
        return None
    return config.with_(accumulate=smaller)


def in_at_most(config: TrainConfig, images: int) -> TrainConfig:
    """The same step in micro-batches of no more images; in the smallest where those are larger."""
    *larger, smallest = in_smaller(config)
    return next((each for each in larger if micro_batch(each) <= images), smallest)


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


def in_smaller(config: TrainConfig) -> Iterator[TrainConfig]:
    """The same training in ever smaller micro-batches, as far as they go."""
    smaller: TrainConfig | None = config
    while smaller is not None:
        yield smaller
        smaller = halved(smaller)


def that_counts(
    variants: Sequence[TrialSpec], *, planned: int, room: int | None, history: History
) -> TrialSpec:
    """Which of the variants of one training, the largest micro-batches first, is carried out.

    One that has ended well counts in whatever micro-batches: how many images fit is the machine's
    affair, and another machine is no reason to train anew. So does one that is under way, if it
    takes no more than this machine was thought to have.

    Args:
        variants: See `in_smaller`.
        planned: Images at once that are thought to fit.
        room: Images at once that have not run out of memory yet; None where nothing has.
        history: What has been tried.
    """
    known = [(spec, trial) for spec in variants if (trial := history.get(spec.key)) is not None]
    for spec, trial in known:
        if trial.status is Status.COMPLETE:
            return spec
    for spec, trial in known:
        begun = trial.status is not Status.WAITING and not ran_out(trial)
        if begun and micro_batch(told(spec)) <= planned:
            return spec
    limit = planned if room is None else min(planned, room)
    fitting = (spec for spec in variants if micro_batch(told(spec)) <= limit)
    return next(fitting, variants[-1])


def begun_and_next(wanted: Iterable[TrialSpec], history: History, *, count: int) -> list[TrialSpec]:
    """Of the trials that are wanted those under way, and of the others as many as can start.

    No more: what runs out of memory changes those that come after it.
    """
    left = [spec for spec in wanted if not is_settled(history, spec)]
    begun = [spec for spec in left if spec.key in history]
    return begun + [spec for spec in left if spec.key not in history][:count]


def room_left(variants: Iterable[TrialSpec], history: History) -> int | None:
    """Images at once that are worth a try after these have run out of memory; None if none has."""
    ran = [micro_batch(told(spec)) for spec in variants if ran_out(history.get(spec.key))]
    return min(ran) - 1 if ran else None


def ran_out(trial: Trial | None) -> bool:
    """Whether a trial failed for want of memory."""
    if trial is None or trial.status is not Status.FAILED:
        return False
    return any(word in trial.error for word in _OUT_OF_MEMORY)
