"""What can go wrong while a run is planned or under way, each with its exit code."""

from __future__ import annotations


class OrchestratorError(Exception):
    """Anything the orchestrator reports to its user, on one line, rather than a bug of its own."""

    exit_code = 3


class UsageError(OrchestratorError):
    """Something asked for that cannot be meant; found before training, nothing left behind."""

    exit_code = 2


class StageFailed(OrchestratorError):
    """A stage that could not come to a result: what, why, and how to go on."""

    exit_code = 3


class NotReady(OrchestratorError):
    """An environment in which the run cannot work at present; `orchestrator doctor` tells more."""

    exit_code = 4


class RunDirHeld(NotReady):
    """Another controller is at work on the run directory."""


class Interrupted(OrchestratorError):
    """The user or the system asked the run to end; it can be resumed."""

    def __init__(self, message: str, *, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
