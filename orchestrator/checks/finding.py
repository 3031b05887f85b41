"""What a check found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

State: TypeAlias = Literal["ok", "warning", "blocked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of a diagnosis."""

    about: str
    state: State
    says: str
    remedy: str = ""
    """What would change the state; empty where all is well."""


def ok(about: str, says: str) -> Finding:
    """All is well."""
    return Finding(about=about, state="ok", says=says)


def warning(about: str, says: str, remedy: str) -> Finding:
    """A run can work, but worse than it could."""
    return Finding(about=about, state="warning", says=says, remedy=remedy)


def blocked(about: str, says: str, remedy: str) -> Finding:
    """No run can work before this is mended."""
    return Finding(about=about, state="blocked", says=says, remedy=remedy)


def one_line(error: BaseException) -> str:
    """An error's own words on one line, with its kind where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
