"""Plain JSON and text to configurations; unknown keys are refused by path. The door to pydantic."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from orchestrator.config import CommonConfig
from orchestrator.errors import UsageError
from orchestrator.settings import (
    Layer,
    brief,
    merged,
    named_by,
    overlaid,
    parse_setting,
    read_settings,
)
from orchestrator.trial import Bundle, TrialSpec
from trainer.config import Strict, TrainConfig
from trainer.errors import ConfigError, unknown_value
from trainer.models.baselines import baseline

T = TypeVar("T", bound=Strict)
C = TypeVar("C", bound=CommonConfig)

CONFIG_TYPES: dict[str, type[Strict]] = {"train": TrainConfig}
"""Objective -> the type of its configuration."""

_EXPECTED: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
}


def load(
    config_type: type[C],
    *,
    file: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    sets: Sequence[str] = (),
) -> C:
    """A run's configuration: defaults, then the file, then the options, then `key=value` settings.

    Options that are None were not given.

    Raises:
        UsageError: on one line, in the words of the place that said it.
    """
    given = {key: value for key, value in (options or {}).items() if value is not None}
    layers = [
        Layer(read_settings(file) if file is not None else {}, lambda path: f"{file}: {path}"),
        Layer(given, lambda path: f"--{path.replace('_', '-')}"),
        *(Layer(parse_setting(text), lambda path: f"--set {path}") for text in sets),
    ]

    def named(path: str) -> str:
        return named_by(layers, path)

    config = _decode(config_type, merged(layers), named)
    _check_overlay(config.train, named)
    return config


def overlay(value: T, changes: Mapping[str, Any], path: str = "") -> T:
    """The value with nested changes, as typed values or text.

    Raises:
        UsageError: naming the path below `path`.
    """
    return _decode(type(value), overlaid(value.to_json(), changes), _below(path))


def decode(config_type: type[T], document: Mapping[str, Any], path: str = "") -> T:
    """The value whose `to_json` gave the document; numbers may be text.

    Raises:
        UsageError: naming the path below `path`.
    """
    return _decode(config_type, document, _below(path))


def decode_spec(
    proposal: Mapping[str, Any], types: Mapping[str, type[Strict]] = CONFIG_TYPES
) -> TrialSpec:
    """The specification of a `proposed` event.

    Raises:
        ConfigError: an objective that this version does not know.
        UsageError: a configuration that it does not know.
    """
    objective = proposal["objective"]
    if objective not in types:
        raise unknown_value(f"trial {proposal['key']}: objective", objective, types)
    return TrialSpec(
        key=proposal["key"],
        stage=proposal["stage"],
        objective=objective,
        config=decode(types[objective], proposal["config"], f"trial {proposal['key']}"),
        labels=proposal["labels"],
        milestones=tuple(proposal["milestones"]),
        resources=tuple(Bundle(**bundle) for bundle in proposal["resources"]),
    )


def _decode(config_type: type[T], document: Any, named: Callable[[str], str]) -> T:
    try:
        value: T = _adapter(config_type).validate_python(document)  # type: ignore[arg-type]
    except ValidationError as error:
        raise UsageError(_complaint(config_type, error, named)) from error
    except ConfigError as error:
        raise UsageError(_relabelled(str(error), config_type, named)) from error
    return value


@lru_cache(maxsize=64)
def _adapter(config_type: Any) -> TypeAdapter[Any]:
    return TypeAdapter(config_type)  # building one takes 0.1 s for a `TrainConfig`


def _check_overlay(changes: Mapping[str, Any], named: Callable[[str], str]) -> None:
    """Find misspelt and mistyped keys now, before the data set says what they change.

    Values that do not go together are left to the real configuration.
    """
    example = TrainConfig(model=baseline("efficientnet-b0", num_classes=2))
    document = overlaid(example.to_json(), changes)
    try:
        _adapter(TrainConfig).validate_python(document)
    except ValidationError as error:
        complaint = _complaint(TrainConfig, error, lambda path: named(f"train.{path}"))
        raise UsageError(complaint) from error
    except ConfigError:
        return


def _below(prefix: str) -> Callable[[str], str]:
    separator = ": " if " " in prefix else "."
    return lambda path: f"{prefix}{separator}{path}" if prefix and path else prefix or path


def _relabelled(message: str, config_type: type[Strict], named: Callable[[str], str]) -> str:
    """A configuration's own complaint, with the setting it begins with called as the user did."""
    match = re.match(r"(--)?(?P<path>[a-z]\w*(-\w+)*(\.\w+)*)(?P<rest>.*)", message, re.DOTALL)
    if match is None:
        return message
    path = match["path"].replace("-", "_")
    names = {field.name for field in fields(config_type)}  # type: ignore[arg-type]
    return named(path) + match["rest"] if path.partition(".")[0] in names else message


def _complaint(
    config_type: type[Strict], error: ValidationError, named: Callable[[str], str]
) -> str:
    """The first of pydantic's complaints, in our words."""
    first = error.errors(include_url=False)[0]
    location, given = first["loc"], first["input"]
    if first["type"] == "missing" and get_origin(_type_at(config_type, location[:-1])) is tuple:
        location = location[:-1]  # too short a list is the list's fault
    path = named(".".join(str(step) for step in location)) or "the settings"
    match first["type"]:
        case "unexpected_keyword_argument":
            return _unknown_key(path, str(location[-1]), _type_at(config_type, location[:-1]))
        case "missing" if location == first["loc"]:
            return f"{path}: missing"
        case "literal_error":
            choices = get_args(_type_at(config_type, location))
            return str(unknown_value(path, given, map(str, choices)))
    expected = _expected(_type_at(config_type, location))
    return f"{path}: expected {expected}, got {brief(given)}"


def _unknown_key(path: str, key: str, owner: Any) -> str:
    names = [field.name for field in fields(owner)]
    near = get_close_matches(key, names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"{path}: unknown key; choose from {', '.join(names)}.{hint}"


def _type_at(start: Any, location: Iterable[int | str]) -> Any:
    """The type of the field at a location, None taken off."""
    here = _without_none(start)
    for step in location:
        arguments = get_args(here)
        if is_dataclass(here):
            here = get_type_hints(here).get(str(step), Any)
        elif get_origin(here) is tuple:
            here = arguments[0] if arguments[-1] is ... else arguments[int(step)]
        else:  # a mapping
            here = arguments[-1] if arguments else Any
        here = _without_none(here)
    return here


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        rest = [argument for argument in get_args(hint) if argument is not NoneType]
        return rest[0] if len(rest) == 1 else hint
    return hint


def _expected(hint: Any) -> str:
    if get_origin(hint) is tuple:
        arguments = get_args(hint)
        inner = _expected(arguments[0])
        plural = inner.removeprefix("a ").removeprefix("an ")
        count = "" if arguments[-1] is ... else f"{len(arguments)} "
        return f"a list of {count}{plural}s"
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    return _EXPECTED.get(hint, "nested settings")
