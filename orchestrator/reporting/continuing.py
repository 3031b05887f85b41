"""The command line that a run was started with, to go on with or to vary."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.cli.options import OPTIONS
from orchestrator.config.ablate import AblateConfig
from orchestrator.config.augment import SearchAugmentConfig
from orchestrator.config.common import CommonConfig
from orchestrator.config.fixres import FixResStageConfig
from orchestrator.config.scale import ScaleConfig
from orchestrator.config.scaling import SearchScalingConfig

CONFIGS: dict[str, type[CommonConfig]] = {
    "search-scaling": SearchScalingConfig,
    "search-augment": SearchAugmentConfig,
    "scale": ScaleConfig,
    "fixres": FixResStageConfig,
    "ablate": AblateConfig,
}
"""Command -> the type of its configuration."""
_NAMED_ELSEWHERE = ("run_dir", "tracking_uri")
"""The first stands by itself; the second may hold a password, and the run remembers it."""


def command_line(description: Mapping[str, Any], run_dir: str, **changes: Any) -> list[str]:
    """The arguments that go on in `run_dir`, defaults left out.

    Args:
        description: what `run.json` holds.
        run_dir: as it is to be typed.
        changes: options with other values than the run has.
    """
    command, config = description["command"], {**description.get("config", {}), **changes}
    config_type = CONFIGS.get(command)
    default = config_type().to_json() if config_type else {}
    # what has no flag is `--set` only
    flags = {option.name: option.flag for option in OPTIONS.get(command, ())}
    words = ["orchestrator", command, "--run-dir", run_dir]
    for name, value in config.items():
        if name not in _NAMED_ELSEWHERE and name in default and value != default[name]:
            words += _arguments(name, value, flags=flags)
    return words


def _arguments(name: str, value: Any, *, flags: Mapping[str, str]) -> Iterator[str]:
    if name not in flags:
        for path, leaf in _leaves(name, value):
            yield from ("--set", f"{path}={_text(leaf)}")
    elif value is True:
        yield flags[name]
    elif value not in (None, False):
        yield from (flags[name], str(value))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        yield path, value
        return
    for key, item in value.items():
        yield from _leaves(f"{path}.{key}", item)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
