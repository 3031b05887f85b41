"""Files that a run can be continued or used from; reading one never executes code."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from trainer.augment.files import policy_from_dict, policy_to_dict
from trainer.augment.policy import PolicySchedule, policy_at
from trainer.config import RECIPE_VERSION, EpochReport, Strict, TrainConfig
from trainer.errors import CheckpointError, DiskFull, TrainerError, is_disk_full
from trainer.strict import told

FORMAT = 1
"""Raised when older files can no longer be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpointing:
    """Where and how often a run is saved."""

    directory: Path
    every_seconds: float = 10.0
    """Least time between two saves; 0 saves every epoch. The last epoch is always saved."""
    attempt: int = 1
    """Enters temporary names: a process thought dead may still write when the next one starts."""
    keep: Literal["best-and-last", "all", "none"] = "best-and-last"
    """`all` adds the evaluated weights of every epoch. `none` writes only what resuming needs, and
    removes it once every epoch is done and its report was taken."""

    damaged: Literal["refuse", "set-aside"] = "refuse"
    """What becomes of a `last.pt` that this run cannot go on from. `set-aside` renames it and
    begins anew: the outcome is the same, only the time is lost."""

    parent: Path | None = None
    """The `last.pt` of another run, from which one that has none of its own goes on. The two may
    differ in how later epochs are augmented. Only time is saved: without the file, or with one that
    is no such parent, the run begins at its first epoch and comes to the same end."""

    @property
    def last(self) -> Path:
        """The complete state after the last saved epoch."""
        return self.directory / "last.pt"

    @property
    def best(self) -> Path:
        """The evaluated weights of the epoch with the highest top-1, the first of equals."""
        return self.directory / "best.pt"

    @property
    def set_aside(self) -> Path:
        """The name that a damaged `last.pt` is given."""
        return self.directory / "last.pt.damaged"

    def of_epoch(self, epoch: int) -> Path:
        """The evaluated weights of one epoch."""
        return self.directory / f"epoch-{epoch:04d}.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCheckpoint:
    """A trained model: what it was told, what it weighs, how good it is."""

    config: Mapping[str, Any]
    """`TrainConfig.to_json()` of the run."""
    weights: Mapping[str, Tensor]
    report: EpochReport


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCheckpoint:
    """A run between two epochs: all that its continuation depends on."""

    state: Mapping[str, Any]
    history: tuple[EpochReport, ...]


def save_model(
    path: Path,
    weights: Mapping[str, Tensor],
    *,
    config: TrainConfig,
    report: EpochReport,
    attempt: int = 1,
) -> None:
    """Write evaluated weights. Raises: DiskFull, CheckpointError when they cannot be written."""
    body = {"weights": dict(weights), "report": json.dumps(report.to_json())}
    _write(path, "model", body, config=config, attempt=attempt)


def load_model(path: Path) -> ModelCheckpoint:
    """Read what `save_model` wrote. Raises: CheckpointError when the file is not that."""
    content = _read(path, "model", needs={"weights", "report"})
    return ModelCheckpoint(
        config=json.loads(content["config"]),
        weights=content["weights"],
        report=_report(json.loads(content["report"])),
    )


def save_run(
    path: Path,
    state: Mapping[str, Any],
    *,
    config: Strict,
    history: tuple[EpochReport, ...],
    attempt: int = 1,
) -> None:
    """Write the complete state of a run. Raises: DiskFull, CheckpointError when it cannot be."""
    reports = [report.to_json() for report in history]
    body = {"state": dict(state), "history": json.dumps(reports)}
    _write(path, "run", body, config=config, attempt=attempt)


def load_run(path: Path, *, config: Strict) -> RunCheckpoint:
    """Read what `save_run` wrote for this very configuration.

    Raises: CheckpointError when the file is not that, or names another configuration or recipe.
    """
    found, saved = _read_run(path)
    _require_same(path, found, config.to_json())
    return saved


def load_parent(path: Path, *, config: TrainConfig) -> RunCheckpoint:
    """Read a state that this configuration comes to as well: up to it, the two are the same.

    Raises: CheckpointError when the file is not that.
    """
    found, saved = _read_run(path)
    done = len(saved.history)
    if done >= config.epochs:
        raise CheckpointError(f"{path}: trained to its end, nothing can go on from it")
    _require_same(path, _up_to(found, done), _up_to(config.to_json(), done))
    return saved


def _read_run(path: Path) -> tuple[dict[str, Any], RunCheckpoint]:
    """The configuration and the state in a file."""
    content = _read(path, "run", needs={"state", "history"})
    if content["recipe"] != RECIPE_VERSION:
        raise CheckpointError(
            f"{path}: trained by recipe {content['recipe']}, this is recipe {RECIPE_VERSION}"
        )
    history = tuple(_report(report) for report in json.loads(content["history"]))
    return json.loads(content["config"]), RunCheckpoint(state=content["state"], history=history)


def _up_to(config: dict[str, Any], epochs: int) -> dict[str, Any]:
    """A configuration with the augmentation of its first epochs in place of the whole schedule."""
    policy = config["augment"]["policy"]
    if policy is None:
        return config
    augmentation = policy_from_dict(policy)
    if isinstance(augmentation, PolicySchedule):
        augmentation = augmentation.stretched(config["epochs"])
    seen = [policy_to_dict(policy_at(augmentation, epoch + 1)) for epoch in range(epochs)]
    return {**config, "augment": {**config["augment"], "policy": seen}}


def remove_leftovers(checkpointing: Checkpointing) -> None:
    """Remove the temporary files of earlier attempts, which a killed process leaves behind."""
    for attempt in range(1, checkpointing.attempt):
        for leftover in checkpointing.directory.glob(f"*{_suffix(attempt)}"):
            leftover.unlink(missing_ok=True)


def _suffix(attempt: int) -> str:
    return f".attempt-{attempt}.tmp"


def _write(path: Path, kind: str, body: dict[str, Any], *, config: Strict, attempt: int) -> None:
    header = {"format": FORMAT, "kind": kind, "recipe": RECIPE_VERSION}
    buffer = io.BytesIO()
    torch.save({**header, "config": json.dumps(config.to_json()), **body}, buffer)
    temporary = path.with_name(path.name + _suffix(attempt))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise _unwritten(path, error) from error


def _unwritten(path: Path, error: OSError) -> TrainerError:
    kind = DiskFull if is_disk_full(error) else CheckpointError
    return kind(f"{path}: cannot write the checkpoint: {error.strerror}")


def _read(path: Path, kind: str, *, needs: set[str]) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:  # torch itself does not look at the checksums
            damaged = archive.testzip()
        if damaged is not None:
            raise CheckpointError(f"{path}: damaged, {damaged} has a wrong checksum")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (
        OSError,
        EOFError,
        RuntimeError,
        ValueError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
    ) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path}: not a readable checkpoint: {reason}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of format {FORMAT}")
    if content.get("kind") != kind:
        raise CheckpointError(f"{path}: a {content.get('kind')} checkpoint, a {kind} is needed")
    missing = (needs | {"config", "recipe"}) - content.keys()
    if missing:
        raise CheckpointError(f"{path}: a checkpoint without {', '.join(sorted(missing))}")
    return content


def _report(fields: dict[str, Any]) -> EpochReport:
    return EpochReport(**{**fields, "recall": tuple(fields["recall"])})


def _require_same(path: Path, found: dict[str, Any], asked: dict[str, Any]) -> None:
    for where, there, here in _differences(_unplaced(told(found)), _unplaced(told(asked))):
        raise CheckpointError(
            f"{path}: belongs to another configuration: {where} is {there!r} there, {here!r} here"
        )


def _unplaced(config: Any) -> Any:
    """The same without where the images lie: a run may go on after its data set was moved."""
    if not isinstance(config, dict):
        return config
    return {key: _unplaced(value) for key, value in config.items() if key != "dataset"}


def _differences(found: Any, asked: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, found, asked) for every leaf in which two JSON values differ."""
    if isinstance(found, dict) and isinstance(asked, dict):
        for key in sorted(found.keys() | asked.keys()):
            below = f"{where}.{key}" if where else key
            yield from _differences(found.get(key), asked.get(key), below)
    elif isinstance(found, list) and isinstance(asked, list) and len(found) == len(asked):
        for index, pair in enumerate(zip(found, asked, strict=True)):
            yield from _differences(*pair, f"{where}[{index}]")
    elif found != asked:
        yield where, found, asked
