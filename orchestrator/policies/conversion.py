"""Policies in the formats of other tools: Python files that need nothing of this project."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from orchestrator.new_files import new_file, written_to
from orchestrator.policies.catalogue import named_policy
from orchestrator.run_dir import write_whole
from trainer.augment.files import policy_to_json
from trainer.augment.policy import AnyPolicy, Augmentation, PolicySchedule
from trainer.errors import ConfigError, unknown_value

_WIDTH: Final = 100
"""Columns of a written file, as of our own."""


@dataclass(frozen=True, slots=True)
class Target:
    """A format."""

    suffix: str
    text: Callable[[Augmentation], str]
    """The whole file. Raises ConfigError, naming what the format cannot express."""


def convert_policy(name: str, *, to: str, output: str | Path, side: int) -> Path:
    """Write the policy for another tool; everything is checked before anything is written.

    Raises:
        ConfigError: an unknown policy or target, or a policy that the target cannot express.
        UsageError: the policy cannot be read, or `output` not be written.
    """
    if to not in TARGETS:
        raise unknown_value("--to", to, TARGETS)
    target = TARGETS[to]
    policy = named_policy(name, side=side)
    path = new_file(output, option="--output", suffix=target.suffix)
    text = target.text(policy)
    with written_to(path, option="--output"):
        write_whole(path, text)
    return path


def _torchvision_text(policy: Augmentation) -> str:
    from trainer.augment.torchvision_export import torchvision_policy  # loads torch

    plain = torchvision_policy(_steady(policy, "torchvision"))
    return _module("torchvision_transform.py", "PolicyTransform", plain)


def _timm_text(policy: Augmentation) -> str:
    from trainer.augment.timm_export import timm_policy

    return _module("timm_transform.py", "timm_transform", timm_policy(_steady(policy, "timm")))


def _steady(policy: Augmentation, target: str) -> AnyPolicy:
    if isinstance(policy, PolicySchedule):
        raise ConfigError(
            f"policy '{policy.name}': {target} knows no epochs; convert the policy of one segment"
        )
    return policy


def _module(template: str, builder: str, policy: Mapping[str, Any]) -> str:
    """The text of a module of the trainer's that stands alone, followed by the policy."""
    source = files("trainer.augment").joinpath(template).read_text(encoding="utf-8")
    return (
        f"{source}\n\n"
        f"POLICY: dict[str, Any] = {literal(policy)}\n\n\n"
        "def transform() -> Any:\n"
        '    """What draws from `POLICY` for each image."""\n'
        f"    return {builder}(POLICY)\n"
    )


def literal(value: Any, *, indent: int = 0, before: int = 0) -> str:
    """Plain values as Python source, broken into lines where one would be too long.

    A text is quoted by `repr`, so that whatever a policy is called stays a text.

    Args:
        value: Made of mappings, lists, texts, numbers and None.
        indent: Spaces that the line begins with.
        before: Columns between them and the value.
    """
    if isinstance(value, Mapping):
        keys = [f"{key!r}: " for key in value]
        items = [
            key + literal(item, indent=indent + 4, before=len(key))
            for key, item in zip(keys, value.values(), strict=True)
        ]
        opening, closing = "{", "}"
    elif isinstance(value, list):
        items = [literal(item, indent=indent + 4) for item in value]
        opening, closing = "[", "]"
    else:
        return repr(value)
    line = f"{opening}{', '.join(items)}{closing}"
    if indent + before + len(line) < _WIDTH and "\n" not in line:
        return line
    margin = " " * indent
    lines = "".join(f"{margin}    {item},\n" for item in items)
    return f"{opening}\n{lines}{margin}{closing}"


TARGETS: dict[str, Target] = {
    "torchvision": Target(".py", _torchvision_text),
    "timm": Target(".py", _timm_text),
    "json": Target(".json", policy_to_json),
}
"""`--to` -> how it is written."""
