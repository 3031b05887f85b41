"""What a user calls a model: its folder, a file in it, or a run that has left one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import UsageError
from orchestrator.models.listing import models_of_run
from orchestrator.run_dir import RunDir
from trainer.data.images import shown
from trainer.errors import CheckpointError

if TYPE_CHECKING:
    from trainer.portable.files import PortableModel

WEIGHTS, RECIPE = "model.safetensors", "recipe.json"  # without torch, which their own module loads
WHAT = f"a model is a folder with {WEIGHTS} and {RECIPE}"
_NAMED = 6
"""Models that a message lists."""


def find_model(place: str | Path) -> PortableModel:
    """The model that is meant, read. Raises: UsageError, on one line."""
    from trainer.portable.files import read_model

    try:
        return read_model(model_folder(place))
    except CheckpointError as error:
        raise UsageError(str(error)) from error


def model_folder(place: str | Path) -> Path:
    """The folder of the model that is meant; reads none of its files. Raises: UsageError."""
    path = Path(place)
    try:
        if path.is_dir():
            return _in_folder(path)
        if not path.exists():
            raise UsageError(f"'{shown(path)}' is not there; {WHAT}")
    except (OSError, ValueError) as error:  # ValueError: a path that no file system can hold
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"'{shown(path)}' cannot be read: {reason}") from error
    if path.name in (WEIGHTS, RECIPE):
        return path.parent
    raise UsageError(_no_model(path))


def is_run(path: Path) -> bool:
    """Whether a run was begun in that directory."""
    return RunDir(path).journal.is_file()


def _in_folder(folder: Path) -> Path:
    if any((folder / name).is_file() for name in (RECIPE, WEIGHTS)):
        return folder
    if is_run(folder):
        return _of_run(folder)
    near = [f"'{shown(file.parent)}'" for file in sorted(folder.glob(f"*/{RECIPE}"))[:_NAMED]]
    hint = f"; did you mean {' or '.join(near)}?" if near else f"; {WHAT}"
    raise UsageError(f"'{shown(folder)}' holds no model{hint}")


def _of_run(root: Path) -> Path:
    found = models_of_run(RunDir(root))
    if len(found) == 1:
        return found[0].folder
    if not found:
        raise UsageError(
            f"'{shown(root)}' is a run that has left no model; 'orchestrator scale' leaves one "
            "for each size that it has trained"
        )
    folders = [f"'{shown(model.folder)}'" for model in found[:_NAMED]]
    rest = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    raise UsageError(
        f"'{shown(root)}' is a run with {len(found)} models; name one of {', '.join(folders)}{rest}"
    )


def _no_model(path: Path) -> str:
    if path.suffix != ".pt":
        return f"'{shown(path)}' is no model; {WHAT}"
    beside = path.parent / "model"
    hint = f"name '{shown(beside)}' instead" if (beside / RECIPE).is_file() else WHAT
    return f"'{shown(path)}' is a checkpoint, without class names and preprocessing; {hint}"
