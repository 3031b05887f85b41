"""Signs of life from within an epoch. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic

from trainer.strict import Strict


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat(Strict):
    """A sign of life from within an epoch."""

    epoch: int
    """The epoch under way, from 1."""
    step: int
    """Optimizer steps taken in it; all of them while it is being evaluated, none while a teacher is
    asked in advance."""
    steps: int
    """Optimizer steps in an epoch."""
    images_per_second: float
    """Training throughput in this epoch so far; before its first step the teacher's."""


class Pulse:
    """Knows when a sign of life is due; its clock stands still while the caller looks at one."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = monotonic()
        self._away = 0.0

    def now(self) -> float:
        """Seconds of our own work since some moment."""
        return monotonic() - self._away

    def beats(self, epoch: int, step: int, steps: int, speed: float) -> Iterator[Beat]:
        """Yield one beat if it is time, else none."""
        left = monotonic()
        if left - self._last < self._seconds:
            return
        yield Beat(epoch=epoch, step=step, steps=steps, images_per_second=speed)
        self._last = monotonic()
        self._away += self._last - left
