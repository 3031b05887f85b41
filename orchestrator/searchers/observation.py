"""What policy searchers learn from: what was tried, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Generic, TypeVar

from trainer.config import require

P = TypeVar("P", bound=tuple[float, ...])
"""`Decisions` or a `Point` of one of the spaces in `search_spaces.augmentation`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation(Generic[P]):
    """One child: the decisions it was made by, and its reward."""

    decisions: P
    reward: float | None
    """Higher is better, usually the accuracy on the selection split; None: the child failed."""

    def __post_init__(self) -> None:
        finite = self.reward is None or isfinite(self.reward)
        require(finite, f"observation: reward must be finite or None, got {self.reward}")


def best(observed: Sequence[Observation[P]], count: int) -> tuple[Observation[P], ...]:
    """The observations with the highest rewards, best first; of equals the first proposed.

    What was observed several times counts once, by its highest reward; failed children never.

    Raises:
        ConfigError: fewer than one are asked for.
    """
    require(count >= 1, f"best: count must be at least 1, got {count}")
    ranked = sorted((seen for seen in observed if seen.reward is not None), key=_negated)
    distinct: dict[P, Observation[P]] = {}
    for seen in ranked:
        distinct.setdefault(seen.decisions, seen)
    return tuple(distinct.values())[:count]


def _negated(seen: Observation[P]) -> float:
    assert seen.reward is not None
    return -seen.reward
