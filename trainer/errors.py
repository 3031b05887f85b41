"""What can go wrong while a model is configured, fed or trained."""

import errno
from collections.abc import Iterable
from difflib import get_close_matches


class TrainerError(Exception):
    """Anything the trainer reports to its user rather than a bug of its own."""


class ConfigError(TrainerError):
    """A configuration that cannot be meant: one line with the path, the value and the choices."""


class DatasetError(TrainerError):
    """A data set that cannot be read or learned from."""


class CheckpointError(TrainerError):
    """A checkpoint that is not ours, is damaged, or belongs to another configuration."""


class DiskFull(TrainerError):
    """The machine's fault, not the trial's: with space made, the work can go on."""


def is_disk_full(error: OSError) -> bool:
    """Whether a write failed for want of room: of the disk, or of the user's share of it."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


class TrainingDiverged(TrainerError):
    """A loss that is not finite."""

    def __init__(self, *, epoch: int, step: int, loss: float) -> None:
        super().__init__(f"the loss became {loss} in epoch {epoch}, step {step}")
        self.epoch, self.step, self.loss = epoch, step, loss

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not pickle by themselves.
        return _diverged, (self.epoch, self.step, self.loss)


def _diverged(epoch: int, step: int, loss: float) -> TrainingDiverged:
    return TrainingDiverged(epoch=epoch, step=step, loss=loss)


def unknown_value(path: str, value: object, choices: Iterable[str]) -> ConfigError:
    """An error that names the choices and, if one is near, the one that was probably meant."""
    names = list(choices)
    near = get_close_matches(str(value), names, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return ConfigError(f"{path}: unknown value '{value}'; choose from {', '.join(names)}.{hint}")
