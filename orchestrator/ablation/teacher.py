"""The network that distillation learns from: found by what `--teacher` says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UsageError
from orchestrator.loading import decode
from orchestrator.run_dir import RunDir
from orchestrator.weights import LIBRARIES, find_weights
from trainer.config import ModelConfig, TrainConfig
from trainer.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from trainer.portable.files import PortableModel


@dataclass(frozen=True, kw_only=True, eq=False)
class Teacher:
    """A trained network."""

    asked: str
    """As `--teacher` had it."""
    name: str
    model: ModelConfig
    digest: str
    """Of the tensors."""
    weights: Mapping[str, Tensor]
    class_names: tuple[str, ...] = ()
    """() where nobody has written them down."""
    mean: tuple[float, ...] = ()
    """What its images were normalised by; () where that is not known."""
    std: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For the record."""
        return {
            "from": self.asked,
            "network": self.name,
            "digest": self.digest,
            "resolution": self.model.resolution,
        }


def find_teacher(text: str, *, download: bool = False) -> Teacher:
    """`torchvision:NAME`, `timm:NAME`, either with `=FILE`, a model folder, or a checkpoint.

    Raises: UsageError, on one line.
    """
    library, colon, _ = text.partition(":")
    try:
        if colon and library in LIBRARIES:
            return _of_library(text, download=download)
        return _of_ours(text)
    except (CheckpointError, ConfigError) as error:
        raise UsageError(f"--teacher: {error}") from error


def unnamed_teacher(student: ModelConfig) -> Teacher:
    """What a plan reckons with where no teacher has been named yet: a network like the student."""
    return Teacher(asked="", name="", model=student, digest="not-named-yet", weights={})


def check_teacher(teacher: Teacher, class_names: tuple[str, ...], *, num_classes: int) -> None:
    """Refuse a teacher that answers another question. Raises: UsageError."""
    theirs = teacher.model.num_classes
    if theirs != num_classes:
        raise UsageError(
            f"--teacher: {teacher.asked} knows {theirs} classes, the data set has {num_classes}; "
            "name one that was trained on this data set, such as scale leaves them"
        )
    if teacher.class_names and teacher.class_names != class_names:
        pairs = zip(teacher.class_names, class_names, strict=False)
        ours = next((pair for pair in pairs if pair[0] != pair[1]), ("", ""))
        raise UsageError(
            f"--teacher: {teacher.asked} knows other classes: '{ours[0]}' where the data set has "
            f"'{ours[1]}'; name one that was trained on this data set"
        )


def keep_teacher(teacher: Teacher, run_dir: RunDir) -> None:
    """Copy the tensors into the run directory, where every worker finds them."""
    from trainer.transfer import write_weights

    path = run_dir.weights(teacher.digest)
    if not path.exists():
        write_weights(path, teacher.weights)


def _of_library(text: str, *, download: bool) -> Teacher:
    try:
        found = find_weights(text, download=download)
    except UsageError as error:
        raise UsageError(str(error).replace("--weights", "--teacher")) from error
    return Teacher(
        asked=text,
        name=found.name,
        model=found.model,
        digest=found.digest,
        weights=found.weights,
        class_names=found.class_names,
        mean=found.mean,
        std=found.std,
    )


def _of_ours(text: str) -> Teacher:
    from trainer.checkpoint import load_model
    from trainer.portable.files import read_model
    from trainer.transfer import digest_of

    place = Path(text)
    if not place.exists():
        raise CheckpointError(
            f"'{text}' is not there; name a model folder, a checkpoint, torchvision:NAME or "
            "timm:NAME"
        )
    if place.suffix == ".pt":
        saved = load_model(place)
        config = decode(TrainConfig, saved.config, text)
        return Teacher(
            asked=text,
            name=place.stem,
            model=config.model,
            digest=digest_of(saved.weights),
            weights=saved.weights,
        )
    model = read_model(place)
    recipe, weights = model.recipe, _without_map(model)
    return Teacher(
        asked=text,
        name=recipe.name,
        model=recipe.model,
        digest=digest_of(weights),
        weights=weights,
        class_names=recipe.class_names,
        mean=recipe.mean,
        std=recipe.std,
    )


def _without_map(model: PortableModel) -> Mapping[str, Tensor]:
    """The network's own tensors: a map behind the pool was fitted to one resolution."""
    import torch

    from trainer.models.build import build

    with torch.device("meta"):
        names = build(model.recipe.model).state_dict()
    return {name: weight for name, weight in model.weights.items() if name in names}
