"""Settings as people write them: a YAML file, `key=value`, and which of several said what.

Scalars stay text, except null: the type of the field that a text is for decides what it means.
YAML's own guesses would make 1e-3 a text, `no` a boolean and 1:30 a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from orchestrator.errors import UsageError

Settings: TypeAlias = dict[str, Any]

_LARGEST_FILE = 256 * 1024
_DEEPEST = 8
_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings from one place; later layers win over earlier ones."""

    values: Mapping[str, Any]
    named: Callable[[str], str]
    """What to call a dotted path of this layer in a message."""


def merged(layers: Sequence[Layer]) -> Settings:
    """All layers in one, nested settings key by key."""
    result: Settings = {}
    for layer in layers:
        result = overlaid(result, layer.values)
    return result


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> Settings:
    """`below` with what `above` says; both stay as they are."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = overlaid(old, value) if both else value  # type: ignore[arg-type]
    return result


def named_by(layers: Sequence[Layer], path: str) -> str:
    """The path in the words of the layer that set it, or the nearest thing around it."""
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        for layer in reversed(layers):
            if _holds(layer.values, parts[:length]):
                return layer.named(path)
    return path


def _holds(values: Any, parts: Sequence[str]) -> bool:
    for part in parts:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def read_settings(path: str | Path) -> Settings:
    """The nested settings of a YAML file.

    Raises:
        UsageError: it cannot be read, or is no mapping of settings.
    """
    try:
        with Path(path).open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a path that no file system can hold
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"--config {path}: cannot be read: {reason}") from error
    if len(content) > _LARGEST_FILE:
        raise UsageError(
            f"--config {path}: too large for a configuration ({_LARGEST_FILE >> 10} KiB)"
        )
    settings = _parse(content, where=f"--config {path}")
    if not isinstance(settings, dict | None):
        raise UsageError(f"--config {path}: expected lines of 'key: value', got {brief(settings)}")
    return settings or {}


def parse_setting(text: str) -> Settings:
    """`a.b=value` as nested settings; [lists] and {mappings} are YAML, anything else is text.

    Raises:
        UsageError: it is not of that form.
    """
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise UsageError(
            f"--set: expected key=value, such as train.optim.lr=0.05, got {brief(text)}"
        )
    if len(parts) > _DEEPEST:
        raise UsageError(f"--set {brief(key)}: no setting is nested so deeply")
    setting: Any = _value(value, where=f"--set {key}")
    for part in reversed(parts):
        setting = {part: setting}
    assert isinstance(setting, dict)
    return setting


def brief(value: object) -> str:
    """A value for a message: on one line and not too long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _value(text: str, *, where: str) -> Any:
    stripped = text.strip()
    if stripped.startswith(("[", "{")):
        return _parse(stripped.encode(errors="replace"), where=where)
    return None if stripped and _NULL.fullmatch(stripped) else text


class _TextLoader(yaml.BaseLoader):
    """Every scalar a text, but for null; no tags, no aliases, no key twice."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            # A few lines of aliases can stand for gigabytes.
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not read", problem_mark=mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        mapping: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or key in mapping or "." in key:
                twice = isinstance(key, str) and key in mapping
                problem = (
                    f"key {brief(key)} stands twice" if twice else "keys are single words, nested"
                )
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            mapping[key] = self.construct_object(value_node, deep=True)
        return mapping


_TextLoader.add_implicit_resolver("tag:yaml.org,2002:null", _NULL, ["~", "n", "N", ""])
_TextLoader.add_constructor("tag:yaml.org,2002:null", lambda loader, node: None)


def _parse(content: bytes, *, where: str) -> Any:
    try:
        return yaml.load(content, Loader=_TextLoader)
    except yaml.YAMLError as error:
        raise UsageError(f"{where}: {_complaint(error)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{where}: not UTF-8 text (byte {error.start})") from error
    except RecursionError as error:
        raise UsageError(f"{where}: nested too deeply") from error


def _complaint(error: yaml.YAMLError) -> str:
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else f"{problem}"
