"""Policies as JSON, a sub-policy a line; mistakes are named by their path. Loads no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, fields
from typing import Any, TypeVar

from trainer.augment.policy import (
    AnyPolicy,
    Augmentation,
    ColorPipeline,
    Operation,
    Policy,
    PolicySchedule,
    PopulationPolicy,
    RandomPolicy,
    Segment,
    SubPolicy,
    Uniform,
)
from trainer.errors import ConfigError, unknown_value

_STEADY: dict[str, Callable[..., AnyPolicy]] = {
    "sub-policies": Policy,
    "random": RandomPolicy,
    "population": PopulationPolicy,
    "color": ColorPipeline,
}
_KINDS: dict[str, Callable[..., Augmentation]] = {**_STEADY, "schedule": PolicySchedule}
_T = TypeVar("_T")


def policy_to_dict(policy: Augmentation) -> dict[str, Any]:
    """The policy as plain JSON values, complete: defaults are written out."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(policy)))  # tuples become lists
    return plain


def policy_to_json(policy: Augmentation) -> str:
    """The policy as JSON text with one sub-policy, operation or segment a line, so that two files
    compare."""
    lines = []
    for key, value in policy_to_dict(policy).items():
        if key in ("sub_policies", "operations", "segments"):
            rows = ",\n".join(f"    {json.dumps(row)}" for row in value)
            lines.append(f'  "{key}": [\n{rows}\n  ]')
        else:
            lines.append(f'  "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def policy_from_json(text: str, *, path: str = "policy") -> Augmentation:
    """The policy that `policy_to_json` wrote, equal to the last digit.

    Args:
        text: The JSON document.
        path: What to call the document in an error, such as its file name.

    Raises:
        ConfigError: the text is no JSON, or `policy_from_dict` refuses what it says.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path}: no JSON at line {error.lineno}: {error.msg}") from None
    return policy_from_dict(value, path=path)


def policy_from_dict(value: object, *, path: str = "policy") -> Augmentation:
    """The policy that these plain values describe.

    Raises:
        ConfigError: a key is unknown or missing, a value of the wrong type or beyond its limits;
            the message starts with where it is, as in `policy.sub_policies[3].operations[0]`.
    """
    return _of_kind(value, path, _KINDS)


def _of_kind(value: object, path: str, kinds: Mapping[str, Callable[..., _T]]) -> _T:
    document = _mapping(value, path)
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise unknown_value(f"{path}.kind", kind, kinds)
    return _build(kinds[kind], document, path)


def _build(cls: Callable[..., _T], value: object, path: str) -> _T:
    """Make a value of the class from a mapping, each key read as the class's field says."""
    document = _mapping(value, path)
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    for key in document:
        if key not in known:
            raise unknown_value(f"{path}: key", key, known)
    for name, field in known.items():
        if name not in document and field.default is MISSING:
            raise ConfigError(f"{path}: '{name}' is missing")
    arguments = {key: _READERS[key](item, f"{path}.{key}") for key, item in document.items()}
    try:
        return cls(**arguments)
    except ConfigError as error:
        raise ConfigError(f"{path}: {str(error).removeprefix('policy: ')}") from None


def _mapping(value: object, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path}: expected an object, got {_shown(value)}")
    return value


def _number(value: object, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{path}: expected a number, got {_shown(value)}")
    return float(value)


def _whole(value: object, path: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{path}: expected a whole number, got {_shown(value)}")
    return value


def _text(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{path}: expected a text, got {_shown(value)}")
    return value


def _flag(value: object, path: str) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise ConfigError(f"{path}: expected true or false, got {_shown(value)}")
    return value


def _magnitude(value: object, path: str) -> float | Uniform | None:
    if value is None:
        return None
    return _build(Uniform, value, path) if isinstance(value, Mapping) else _number(value, path)


def _fill(value: object, path: str) -> int | tuple[int, ...]:
    if not isinstance(value, list):
        return _whole(value, path)
    return tuple(_whole(level, path) for level in value)


def _bins(value: object, path: str) -> int | None:
    return None if value is None else _whole(value, path)


def _list_of(cls: Callable[..., _T]) -> Callable[[object, str], tuple[_T, ...]]:
    def read(value: object, path: str) -> tuple[_T, ...]:
        if not isinstance(value, list):
            raise ConfigError(f"{path}: expected a list, got {_shown(value)}")
        return tuple(_build(cls, item, f"{path}[{index}]") for index, item in enumerate(value))

    return read


def _steady(value: object, path: str) -> AnyPolicy:
    return _of_kind(value, path, _STEADY)


def _numbers(value: object, path: str) -> tuple[float, ...]:
    if not isinstance(value, list):
        raise ConfigError(f"{path}: expected a list, got {_shown(value)}")
    return tuple(_number(item, f"{path}[{index}]") for index, item in enumerate(value))


def _shown(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:37]}…"


_READERS: dict[str, Callable[[object, str], Any]] = {
    "kind": _text,
    "name": _text,
    "fill": _fill,
    "sub_policies": _list_of(SubPolicy),
    "operations": _list_of(Operation),
    "num_ops": _whole,
    "counts": _numbers,
    "segments": _list_of(Segment),
    "epochs": _whole,
    "policy": _steady,
    "probability": _number,
    "magnitude": _magnitude,
    "mirrored": _flag,
    "low": _number,
    "high": _number,
    "bins": _bins,
    "noise": _number,
}
"""How the field of each name is read; a name means the same in every class."""
