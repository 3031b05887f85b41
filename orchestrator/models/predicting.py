"""Pictures in, the classes that a model sees in them out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from orchestrator.errors import UsageError
from orchestrator.models.finding import find_model
from orchestrator.reporting.formats import percent
from trainer.data.images import read_image, shown
from trainer.errors import DatasetError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A class, and how likely the model holds it to be."""

    class_name: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model sees in one picture."""

    path: Path
    top: tuple[Guess, ...]
    """The likeliest first."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        guesses = [{"class": each.class_name, "probability": each.probability} for each in self.top]
        return {"path": str(self.path), "top": guesses}


def predict(
    model: str | Path, images: Sequence[str | Path], *, top: int = 3
) -> tuple[Prediction, ...]:
    """The `top` likeliest classes of each picture, on the GPU if there is one.

    Args:
        model: A model's folder, a file in it, or a run that has left a single model.
        images: Files, and folders whose own image files are meant.
        top: Of that many classes, or of all if there are fewer.

    Raises: UsageError, naming the model or the picture that cannot be read.
    """
    if top < 1:
        raise UsageError(f"--top must be at least 1, got {top}")
    paths = list(image_files(images))
    found = find_model(model)

    import torch

    from trainer.portable.inference import logits

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = found.network(device=device)
    answers = logits(network, found.recipe, _decoded(paths), device=device)
    names = found.recipe.class_names
    best = answers.double().softmax(dim=1).topk(min(top, len(names)), dim=1)
    return tuple(
        Prediction(
            path=path,
            top=tuple(
                Guess(class_name=names[place], probability=probability)
                for place, probability in zip(places, probabilities, strict=True)
            ),
        )
        for path, places, probabilities in zip(
            paths, best.indices.tolist(), best.values.tolist(), strict=True
        )
    )


def prediction_lines(predictions: Iterable[Prediction]) -> Iterator[str]:
    """A line a picture."""
    for each in predictions:
        guesses = (f"{shown(guess.class_name)} {percent(guess.probability)}" for guess in each.top)
        yield f"{shown(each.path)}: {', '.join(guesses)}"


def image_files(places: Iterable[str | Path]) -> Iterator[Path]:
    """The files as they are, and of each folder those called like pictures, by name.

    Raises: UsageError for what is not there, and for a folder without pictures.
    """
    for place in map(Path, places):
        try:
            if place.is_dir():
                yield from _pictures_in(place)
            elif not place.exists():
                raise UsageError(f"'{shown(place)}' is not there")
            else:
                yield place
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"'{shown(place)}' cannot be read: {reason}") from error


def _pictures_in(folder: Path) -> list[Path]:
    known = Image.registered_extensions()
    found = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in known and not path.name.startswith(".") and path.is_file()
    )
    if not found:
        raise UsageError(f"'{shown(folder)}' holds no image files (its folders are not entered)")
    return found


def _decoded(paths: Iterable[Path]) -> Iterator[NDArray[np.uint8]]:
    for path in paths:
        try:
            yield read_image(path)
        except DatasetError as error:
            # the rest of the message is about an option of training
            raise UsageError(str(error).partition("; --skip-unreadable")[0]) from error
