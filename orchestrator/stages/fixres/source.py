"""Trained networks that are to be adapted: found by what `--model` or `--family` says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.config.fixres import FixResStageConfig
from orchestrator.errors import UsageError
from orchestrator.history import read_history
from orchestrator.loading import decode
from orchestrator.models.finding import model_folder
from orchestrator.run_dir import MODEL_FOLDER, RunDir
from orchestrator.stages.finished import damaged, finished
from orchestrator.stages.scale.plan import STAGE as SCALE
from orchestrator.weights import LIBRARIES, Pretrained, find_weights
from trainer.config import AugmentConfig, DataConfig, EfficientNetConfig, TrainConfig
from trainer.errors import CheckpointError, ConfigError
from trainer.portable.recipe import ModelRecipe
from trainer.preprocessing import preprocessing

if TYPE_CHECKING:
    from trainer.portable.files import PortableModel

PHOTOGRAPHS = 0.875
"""The test crop's part of the resized shorter side, as ImageNet's networks are tested."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """A trained network."""

    name: str
    seed: int
    place: Path
    """Its folder."""
    portable: PortableModel
    digest: str
    """Of its weights."""
    train: TrainConfig
    """How it was trained; the model's own where the recipe does not say."""
    known: bool
    """Whether the recipe says how it was trained."""
    seconds: float | None
    """Of its training, evaluation included; None where the run that trained it is not there."""
    foreign: bool = False
    """Whether it is another library's: its classes may be called otherwise than the data set's."""

    @property
    def recipe(self) -> ModelRecipe:
        """What is known of it."""
        return self.portable.recipe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """All networks that a command names."""

    networks: tuple[Given, ...]
    notes: tuple[str, ...] = ()
    """What was left out, and why."""


def find_networks(config: FixResStageConfig) -> Found:
    """The networks. Raises: UsageError, on one line."""
    if config.model is not None:
        if config.model.partition(":")[0] in LIBRARIES:
            return Found(networks=(_of_library(config.model, download=config.download),))
        return Found(networks=(_given(Path(config.model), name=None, where="--model"),))
    if config.family is not None:
        return _family(config.family)
    raise UsageError(
        "fixres: which network? Give --model FOLDER, or --family RUN_DIR (of a finished "
        "orchestrator scale)"
    )


def _family(run_dir: str) -> Found:
    run, where = RunDir(Path(run_dir)), f"--family: {run_dir}"
    _, result = finished(run_dir, SCALE, option="--family")
    try:
        members = [(str(row["name"]), tuple(map(str, row["keys"]))) for row in result["results"]]
    except (KeyError, TypeError):
        raise damaged(run_dir, SCALE, option="--family") from None
    networks, notes = [], []
    for name, keys in members:
        folders = [run.trial(SCALE, key) / MODEL_FOLDER for key in keys]
        there = [folder for folder in folders if folder.is_dir()]
        networks += [_given(folder, name=name, where="--family") for folder in there]
        if len(there) < len(folders):
            notes.append(
                f"{name}: {len(folders) - len(there)} of {len(folders)} runs left no model"
            )
    if not networks:
        raise UsageError(f"{where} has no trained models; train it again with a new --run-dir")
    return Found(networks=tuple(networks), notes=tuple(notes))


def _given(place: Path, *, name: str | None, where: str) -> Given:
    """Raises: UsageError for what is no model that can be adapted."""
    from trainer.portable.files import read_model
    from trainer.transfer import digest_of

    try:
        folder = model_folder(place)
        portable = read_model(folder)
        portable.network()
        train, known = _training(portable.recipe)
    except (CheckpointError, ConfigError, UsageError) as error:
        raise UsageError(f"{where}: {_named(str(error), place)}") from error
    recipe = portable.recipe
    if recipe.origin.get("adaptation", "none") != "none":
        raise UsageError(
            f"{where}: {place}: adapted to {recipe.preprocessing.resolution} px already; name the "
            "model that it was made from"
        )
    return Given(
        name=name or recipe.name,
        seed=train.seed,
        place=folder,
        portable=portable,
        digest=digest_of(portable.weights),
        train=train,
        known=known,
        seconds=_seconds(folder),
    )


def _of_library(text: str, *, download: bool) -> Given:
    """A network of torchvision or timm. Raises: UsageError."""
    from trainer.portable.files import PortableModel

    found = find_weights(text, option="--model", download=download)
    if not found.mean:
        raise UsageError(
            f"--model: {text}: it does not have ImageNet's classes, so nobody knows what its "
            f"images were normalised by{_elsewhere(found)}"
        )
    recipe = ModelRecipe(
        name=found.name,
        model=found.model,
        class_names=found.class_names or tuple(map(str, range(found.model.num_classes))),
        preprocessing=preprocessing(found.model.resolution, crop_fraction=PHOTOGRAPHS),
        mean=found.mean,
        std=found.std,
        origin={"weights": text},
    )
    train, _ = _training(recipe)
    return Given(
        name=found.name,
        seed=train.seed,
        place=Path(text),
        portable=PortableModel(recipe=recipe, weights=found.weights),
        digest=found.digest,
        train=train,
        known=False,
        seconds=None,
        foreign=True,
    )


def _elsewhere(found: Pretrained) -> str:
    """Where these weights are of use."""
    begins = isinstance(found.model, EfficientNetConfig)
    return "; begin from it with orchestrator scale --weights" if begins else ""


def _named(message: str, place: Path) -> str:
    return message if str(place) in message else f"{place}: {message}"


def _training(recipe: ModelRecipe) -> tuple[TrainConfig, bool]:
    """How the network was trained, and whether that is known."""
    if not recipe.train:
        # Where nobody says otherwise, a mirrored image might be another one.
        augment = AugmentConfig(crop="random-resized", flip=False)
        data = DataConfig(mean=recipe.mean, std=recipe.std)
        return TrainConfig(model=recipe.model, augment=augment, data=data), False
    train = decode(TrainConfig, recipe.train, "recipe.train")
    if train.model != recipe.model:
        raise ConfigError("recipe.train: of another network than recipe.model")
    return train, True


def _seconds(folder: Path) -> float | None:
    """What training took, out of the journal of the run that the folder lies in."""
    try:
        key, root = folder.absolute().parent.name, folder.absolute().parents[3]
        trial = read_history(RunDir(root).journal).get(key)
    except (OSError, IndexError):
        return None
    return None if trial is None else seconds_of(trial.reports)


def seconds_of(reports: list[dict[str, Any]]) -> float | None:
    """What a trial's epochs took together; None where none was timed."""
    return sum(float(report.get("seconds") or 0) for report in reports) or None


def by_name(networks: tuple[Given, ...]) -> Iterator[tuple[str, dict[int, Given]]]:
    """The networks that differ by their seed alone."""
    for name in dict.fromkeys(network.name for network in networks):
        yield name, {network.seed: network for network in networks if network.name == name}
