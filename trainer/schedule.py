"""What depends on the step alone, as pure functions: learning rate, DropBlock. No torch."""

from __future__ import annotations

from math import cos, floor, pi

from trainer.config import ScheduleConfig


def lr_at(
    config: ScheduleConfig, *, peak: float, step: int, steps_per_epoch: int, epochs: int
) -> float:
    """The learning rate of a step, counted from 0 over the whole run.

    Warm-up gives the i-th of its m steps i·peak/m, i = 1…m, so that no step is wasted on a rate of
    zero (He 2018, arXiv:1812.01187, §3.1). Cosine decay starts after it (§5.1, which leaves the
    warm-up out of its T); the drops of `step` and `exponential` are counted from the beginning of
    training, as Goyal 2017 (arXiv:1706.02677) and Tan & Le 2019 (arXiv:1905.11946) have them.
    """
    warmup = round(config.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return peak * (step + 1) / warmup
    if config.kind == "cosine":
        total = epochs * steps_per_epoch - warmup
        return peak * 0.5 * (1 + cos(pi * (step - warmup) / total))
    epoch = step / steps_per_epoch
    if config.kind == "step":
        return peak * config.step_factor ** _drops(epoch, every=config.step_epochs)
    return peak * config.exponential_factor ** _drops(epoch, every=config.exponential_epochs)


def progress_at(step: int, *, steps_per_epoch: int, epochs: int) -> float:
    """The part of the training that lies behind a step, counted from 0 over the whole run.

    Assemble-ResNet lowers DropBlock's keep probability in proportion (Lee 2020, arXiv:2001.06268).
    """
    return step / (epochs * steps_per_epoch)


def _drops(epoch: float, *, every: float) -> int:
    """How many drops lie behind this point; a drop due exactly now counts in spite of rounding."""
    return floor(epoch / every + 1e-9)
