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

from orchestrator.ablation.speed_trials import SpeedConfig
from orchestrator.config.common import CommonConfig
from orchestrator.errors import UsageError
from orchestrator.objectives.policy_trials import FoldConfig, GenerationConfig, ScoreConfig
from orchestrator.objectives.resolution_trials import AdaptConfig, SweepConfig
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
from trainer.config import ModelConfig, Strict, TrainConfig
from trainer.errors import ConfigError, unknown_value
from trainer.models.children import child
from trainer.models.resnets import named_resnet

T = TypeVar("T", bound=Strict)
C = TypeVar("C", bound=CommonConfig)

CONFIG_TYPES: dict[str, type[Strict]] = {
    "train": TrainConfig,
    "train-model": TrainConfig,
    "train-fold": FoldConfig,
    "train-generation": GenerationConfig,
    "score-policy": ScoreConfig,
    "fixres-sweep": SweepConfig,
    "fixres": AdaptConfig,
    "distil-model": TrainConfig,
    "measure-speed": SpeedConfig,
}
"""Objective -> the type of its configuration."""

_EXAMPLES: dict[str, ModelConfig] = {
    "efficientnet": child("efficientnet-b0", num_classes=2, resolution=224),
    "wide-resnet": child("wrn-40-2", num_classes=2, resolution=32),
    "resnet": named_resnet("resnet-18", num_classes=2),
}
"""Family -> a network of it, on which settings are tried before the real one is known."""

_TAG = "family"
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
        Layer(given, lambda path: f"--{path.rstrip('_').replace('_', '-')}"),
        *(Layer(parse_setting(text), lambda path: f"--set {path}") for text in sets),
    ]

    def named(path: str) -> str:
        return named_by(layers, path)

    config = _decode(config_type, merged(layers), named)
    _check_overlay(config.train, config.families, named)
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


def _check_overlay(
    changes: Mapping[str, Any], families: Iterable[str], named: Callable[[str], str]
) -> None:
    """Find misspelt and mistyped keys now, before the data set says what they change.

    Values that do not go together are left to the real configuration.
    """
    example = TrainConfig(model=_meant(changes.get("model"), families))
    document = overlaid(example.to_json(), changes)
    try:
        _adapter(TrainConfig).validate_python(document)
    except ValidationError as error:
        complaint = _complaint(TrainConfig, error, lambda path: named(f"train.{path}"))
        raise UsageError(complaint) from error
    except ConfigError:
        return


def _meant(model: Any, families: Iterable[str]) -> ModelConfig:
    """An example of the family that has most of the model's keys, the first of equals."""
    keys = set(model) if isinstance(model, Mapping) else set()
    examples = (_EXAMPLES[family] for family in families)
    return max(examples, key=lambda example: len(keys & example.to_json().keys()))


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
    kind, given = first["type"], first["input"]
    steps, types = _along(config_type, first["loc"])
    if kind == "missing" and get_origin(types[-2]) is tuple:
        kind, steps, types = "too_short", steps[:-1], types[:-1]  # it is the list's fault
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        steps = (*steps, _TAG)
    path = named(".".join(map(str, steps))) or "the settings"
    match kind:
        case "unexpected_keyword_argument":
            return _unknown_key(path, str(steps[-1]), types[-2])
        case "missing" | "union_tag_not_found":
            return f"{path}: missing"
        case "union_tag_invalid":
            return str(unknown_value(path, given[_TAG], _tagged(types[-1])))
        case "literal_error":
            return str(unknown_value(path, given, map(str, get_args(types[-1]))))
    return f"{path}: expected {_expected(types[-1])}, got {brief(given)}"


def _unknown_key(path: str, key: str, owner: Any) -> str:
    names = [field.name for field in fields(owner)]
    near = get_close_matches(key, names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"{path}: unknown key; choose from {', '.join(names)}.{hint}"


def _along(start: Any, location: Iterable[int | str]) -> tuple[tuple[int | str, ...], list[Any]]:
    """A location as people write it, and the types from the start to its end, None taken off.

    pydantic puts the family of a model between `model` and its keys.
    """
    steps: list[int | str] = []
    types = [_without_none(start)]
    for step in location:
        family = _tagged(types[-1]).get(str(step))
        if family is not None:
            types[-1] = family
            continue
        steps.append(step)
        types.append(_without_none(_type_below(types[-1], step)))
    return tuple(steps), types


def _type_below(here: Any, step: int | str) -> Any:
    arguments = get_args(here)
    if is_dataclass(here):
        return get_type_hints(here).get(str(step), Any)
    if get_origin(here) is tuple:
        return arguments[0] if arguments[-1] is ... else arguments[int(step)]
    return arguments[-1] if arguments else Any  # a mapping


def _tagged(hint: Any) -> dict[str, Any]:
    """The members of a union that `family` tells apart, by its values."""
    union = get_origin(hint) in (Union, UnionType)
    members = [member for member in get_args(hint) if union and is_dataclass(member)]
    return {
        str(field.default): member
        for member in members
        for field in fields(member)
        if field.name == _TAG
    }


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
