"""Every path of a run as a property, and files that are whole or absent."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import NotReady, UsageError
from trainer.errors import is_disk_full

MODEL_FOLDER = "model"
"""In the folder of a trial that leaves a model others can use."""

_LEFTOVER = re.compile(r"\..+\.\d+\.tmp|.+\.attempt-\d+\.tmp")
"""What a process that is killed while it writes a file, or a checkpoint, leaves behind."""

_NAME = re.compile(r"[\w-][\w.-]*")
"""So that none leads out of the run's directory."""


@dataclass(frozen=True, slots=True)
class RunDir:
    """A run's directory; creates nothing by itself."""

    root: Path

    @property
    def description(self) -> Path:
        """`run.json`: version, command, configuration, commit, packages, host."""
        return self.root / "run.json"

    @property
    def journal(self) -> Path:
        """The only state of a run; everything else can be deleted and rebuilt."""
        return self.root / "journal.jsonl"

    @property
    def lock(self) -> Path:
        """Held for the controller's life."""
        return self.root / "controller.lock"

    @property
    def mirror_lock(self) -> Path:
        """Held while a mirror carries the journal to the tracker."""
        return self.root / "mirror.lock"

    @property
    def logs(self) -> Path:
        """What the libraries print."""
        return self.root / "logs"

    @property
    def figures(self) -> Path:
        """The plots of `report.md`."""
        return self.root / "figures"

    @property
    def report(self) -> Path:
        """The run on one page, for people."""
        return self.root / "report.md"

    def stage(self, name: str) -> Path:
        """The folder of one stage. Raises: UsageError for what is no name."""
        return self.root / _plain(name)

    def result(self, stage: str) -> Path:
        """The stage's result: the document that `--json` prints."""
        return self.stage(stage) / "result.json"

    def policy(self, stage: str) -> Path:
        """The augmentation policy that the stage found."""
        return self.stage(stage) / "policy.json"

    def weights(self, digest: str) -> Path:
        """Tensors that training begins from; their digest is their name."""
        return self.root / "weights" / f"{_plain(digest)}.safetensors"

    def trial(self, stage: str, key: str) -> Path:
        """The folder of one trial: its checkpoints and its log."""
        return self.stage(stage) / "trials" / _plain(key)


def _plain(name: str) -> str:
    """The name of a stage or trial, which a journal from elsewhere may hold."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"run directory: {name[:60]!a} is no name of a stage or trial")
    return name


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part.

    Raises: NotReady where there is no room for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and is_disk_full(error):
            raise NotReady(f"{path}: cannot be written: {error.strerror}; make room") from error
        raise


def remove_leftovers(run_dir: RunDir) -> None:
    """Clear away what was never finished. Only for who holds the run directory."""
    for path in run_dir.root.rglob("*.tmp"):
        if _LEFTOVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


def write_json(path: Path, document: Any) -> None:
    """Write a JSON document whole."""
    write_whole(path, json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
