"""Policies as people name them: a preset, or a JSON file."""

from __future__ import annotations

from pathlib import Path

from orchestrator.errors import UsageError
from trainer.augment.files import policy_from_json
from trainer.augment.policy import Augmentation
from trainer.augment.presets import PRESETS, trivialaugment
from trainer.errors import unknown_value

TRIVIAL = "trivialaugment"


def find_policy(name: str, *, side: int = 224) -> Augmentation:
    """The preset of that name, for images of that side, or the policy in that file.

    Raises:
        ConfigError: neither; or the file's content is no policy.
        UsageError: the file cannot be read.
    """
    if name == TRIVIAL:  # its translations are a number of pixels
        return trivialaugment(side=max(side, 32))
    if name in PRESETS:
        return PRESETS[name]()
    path = Path(name).expanduser()
    if path.suffix != ".json" and not path.exists():
        raise unknown_value("--policy", name, [*PRESETS, "or a JSON file"])
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UsageError(f"--policy: {path} cannot be read: {reason}") from error
    return policy_from_json(text, path=str(path))
