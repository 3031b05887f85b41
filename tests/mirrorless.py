"""Whole runs without a tracker, which takes longer than the tiny networks they train."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator import session

CLOCKED = ("hours", "images_per_second", "saved")


class NoMirror:
    """Nothing is copied to a tracker, which takes longer than these runs."""

    def __enter__(self) -> NoMirror:
        return self

    def __exit__(self, *raised: object) -> None:
        """Nothing was begun."""

    def finish(self) -> str:
        """Nothing is late."""
        return ""


def without_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch it off, for one test."""
    monkeypatch.setattr(session, "start_mirror", lambda *_, **__: NoMirror())


def timeless(value: Any) -> Any:
    """A result without what a clock said."""
    if isinstance(value, dict):
        return {
            key: timeless(item)
            for key, item in value.items()
            if not any(word in key for word in CLOCKED) and "sentence" not in key
        }
    return [timeless(item) for item in value] if isinstance(value, list) else value
