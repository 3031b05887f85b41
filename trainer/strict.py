"""What every configuration is made of. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from typing import Any, ClassVar, Self

from trainer.errors import ConfigError


class Strict:
    """A configuration whose loader refuses unknown keys, and numbers that are not finite."""

    __slots__ = ()
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    def to_json(self) -> dict[str, Any]:
        """The configuration as plain JSON values; tuples become lists."""
        return _said(self)

    def with_(self, **changes: Any) -> Self:
        """A copy with these fields changed; the checks of the constructor run again."""
        return replace(self, **changes)  # type: ignore[type-var]


def _said(config: Strict) -> dict[str, Any]:
    return {each.name: _plain(getattr(config, each.name)) for each in fields(config)}  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    if isinstance(value, Strict):
        return _said(value)
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value


def told(values: Any) -> Any:
    """Plain JSON without what is None, false or empty, however deep.

    So a field that a later version adds leaves the names of old trials and the checkpoints of old
    runs as they are, if it is off by default; it has to be, or two trials would have one name. What
    a list holds stays, even None.
    """
    if not isinstance(values, Mapping):
        return values
    inner = {key: told(value) for key, value in values.items()}
    return {key: value for key, value in inner.items() if not _silent(value)}


def _silent(value: Any) -> bool:
    return value is None or value is False or value in ([], {})


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError(message)` unless the condition holds."""
    if not condition:
        raise ConfigError(message)
