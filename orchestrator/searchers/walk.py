"""A search that goes batch by batch, followed through a history."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeAlias, TypeVar

from orchestrator.history import History, Status, Trial
from orchestrator.trial import TrialSpec

P = TypeVar("P")
Rewards: TypeAlias = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Batch(Generic[P]):
    """What was tried together, and what came of it."""

    proposals: tuple[P, ...]
    specs: tuple[TrialSpec, ...]
    rewards: Rewards
    """The accuracy a trial ended with; None where it failed."""


@dataclass(frozen=True, slots=True)
class Path(Generic[P]):
    """How far a walk has come."""

    done: tuple[Batch[P], ...]
    """The batches of which every trial has ended."""
    waiting: tuple[TrialSpec, ...]
    """The trials of the batch that is under way; () at the end."""

    @property
    def specs(self) -> list[TrialSpec]:
        """Every trial proposed so far."""
        return [*(spec for batch in self.done for spec in batch.specs), *self.waiting]


@dataclass(slots=True)
class _Node(Generic[P]):
    proposals: tuple[P, ...]
    specs: tuple[TrialSpec, ...]
    next: dict[Rewards, _Node[P]] = field(default_factory=dict)
    """What follows, by what comes of this batch."""


class Walk(Generic[P]):
    """Batches of proposals, each a function of what came of those before.

    So the history alone decides where a search stands, and a resumed one goes on as an
    uninterrupted one would. What was proposed is remembered: the history is asked after every
    trial, and a proposal may be expensive.
    """

    def __init__(
        self,
        advance: Callable[[tuple[Batch[P], ...]], Sequence[P]],
        spec_of: Callable[[P], TrialSpec],
    ) -> None:
        """Begin at the first batch.

        Args:
            advance: The next batch; () at the end.
            spec_of: The trial that tries a proposal.
        """
        self._advance, self._spec_of = advance, spec_of
        self._start: _Node[P] | None = None

    def follow(self, history: History) -> Path[P]:
        """Where the search stands."""
        done: list[Batch[P]] = []
        node = self._start = self._start or self._node(())
        while node.specs:
            trials = [history.get(spec.key) for spec in node.specs]
            if not all(trial is not None and trial.status.ended for trial in trials):
                return Path(tuple(done), node.specs)
            rewards = tuple(reward_of(trial) for trial in trials)
            done.append(Batch(node.proposals, node.specs, rewards))
            if rewards not in node.next:
                node.next[rewards] = self._node(tuple(done))
            node = node.next[rewards]
        return Path(tuple(done), ())

    def _node(self, done: tuple[Batch[P], ...]) -> _Node[P]:
        proposals = tuple(self._advance(done))
        return _Node(proposals, tuple(self._spec_of(proposal) for proposal in proposals))


def reward_of(trial: Trial | None) -> float | None:
    """The accuracy that a trial ended with; None where it came to none."""
    if trial is None or trial.status is not Status.COMPLETE:
        return None
    return trial.metric("top1")
