"""What the controller asks of a stage. What it does is a pure function of the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from orchestrator.estimates import Cost
from orchestrator.history import Decision, History
from orchestrator.trial import TrialSpec


class Stage(Protocol):
    """What to try, who goes on, and what it all says."""

    @property
    def name(self) -> str:
        """The stage's name, as on the command line."""
        ...

    @property
    def question(self) -> dict[str, Any]:
        """What is asked, as plain JSON: a changed question replaces the result."""
        ...

    @property
    def cost(self) -> dict[str, Any]:
        """What is planned: at least how many `trials` and `epochs`."""
        ...

    def propose(self, history: History, *, count: int, seed: int) -> Sequence[TrialSpec]:
        """The trials wanted now that have not ended, known ones again; () when there is none.

        `count` is how many could start at once; a list of candidates may answer with more.
        """
        ...

    def decide(self, history: History) -> Decision | None:
        """The decision that is due, if everybody it compares has arrived."""
        ...

    def reduce(self, history: History) -> dict[str, Any]:
        """The result document. Raises `StageFailed` where no result can be had."""
        ...


class Plan(Protocol):
    """Everything a stage was told and has worked out before its first trial."""

    @property
    def question(self) -> dict[str, Any]:
        """The options as asked, for the record."""
        ...

    def cost(self, seconds_per_mac: float | None) -> Cost:
        """What it takes, at a rate as measured."""
        ...


P = TypeVar("P", bound=Plan)


@dataclass(frozen=True)
class PlannedStage(Generic[P]):
    """What all stages that carry a plan out have in common; nobody is dropped unless they say."""

    name: ClassVar[str]
    """As on the command line."""
    plan: P

    @property
    def question(self) -> dict[str, Any]:
        """The options as asked."""
        return self.plan.question

    @property
    def cost(self) -> dict[str, Any]:
        """The plan, before anything was timed."""
        return self.plan.cost(None).to_json()

    def decide(self, history: History) -> Decision | None:
        """Nothing to decide."""
        return None
