"""A data set is a name or a folder: where its pictures come from, before anything is decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from trainer.data.folders import Listing, list_folder
from trainer.data.images import UNREADABLE, read_image, shown, to_rgb
from trainer.errors import DatasetError, unknown_value

DIGITS = "digits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An opened data set. Images are numbered through its splits, in the order of `splits`."""

    class_names: tuple[str, ...]
    splits: Mapping[str, int]
    """Images per split, among `train`, `val` and `test`; `train` is always there and first."""
    read: Callable[[int], tuple[NDArray[np.uint8], int]]
    """Image (H, W, 3) and label of a number; may be called by several threads at once.
    Raises DatasetError, naming the file, for what is no picture."""
    name: Callable[[int], str]
    """What to call an image in a message."""


class Origin(Protocol):
    """A data set that has been found, not yet read."""

    @property
    def dataset(self) -> str:
        """A name or an absolute path that finds the same data set from any directory."""

    def signature(self) -> str:
        """Changes whenever a file does (path, size or modification time); reads no file."""

    def open(self, *, download: bool) -> Source:
        """Make the images readable. Raises: DatasetError when they are not there."""


def find(dataset: str, *, data_root: Path) -> Origin:
    """The data set of that name, or in that folder; `./digits` is a folder called like a name.

    Args:
        dataset: `digits`, the name of a torchvision set, or the path of a folder.
        data_root: holds one folder per torchvision set, called by our name for it.

    Raises:
        ConfigError: neither a known name nor a folder.
        DatasetError: the folder makes no sense as a data set.
    """
    if dataset == DIGITS:
        return _Digits()
    if dataset in TORCHVISION:
        return _Torchvision(name=dataset, root=data_root.absolute() / dataset)
    path = Path(dataset).expanduser()
    if path.exists() or path.is_absolute() or len(path.parts) > 1 or dataset.startswith("."):
        return _Folder(listing=list_folder(path))
    choices = (DIGITS, *TORCHVISION, "or the path of an image folder")
    raise unknown_value("data.dataset", shown(dataset), choices)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folder:
    listing: Listing

    @property
    def dataset(self) -> str:
        return str(self.listing.root)

    def signature(self) -> str:
        digest = blake2b(os.fsencode(self.listing.root), digest_size=16)
        for split, files in self.listing.splits.items():
            for file in files:
                state = f"\0{split}\0{file.label}\0{file.size}\0{file.modified_ns}\0"
                digest.update(state.encode() + os.fsencode(file.path))
        return digest.hexdigest()

    def open(self, *, download: bool) -> Source:
        files = [file for group in self.listing.splits.values() for file in group]
        return Source(
            class_names=self.listing.class_names,
            splits={split: len(group) for split, group in self.listing.splits.items()},
            read=lambda number: (read_image(files[number].path), files[number].label),
            name=lambda number: shown(files[number].path),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Digits:
    """The 1,797 handwritten digits of scikit-learn: 8×8 pixels, 17 grey levels, one split."""

    dataset: str = DIGITS

    def signature(self) -> str:
        return _text_digest(f"{DIGITS} scikit-learn {version('scikit-learn')}")

    def open(self, *, download: bool) -> Source:
        from sklearn.datasets import load_digits  # a second of imports that few runs need

        levels, labels = load_digits(return_X_y=True)
        grey = np.rint(levels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
        images = np.repeat(grey[..., np.newaxis], 3, axis=3)
        return Source(
            class_names=tuple("0123456789"),
            splits={"train": len(images)},
            read=lambda number: (images[number], int(labels[number])),
            name=lambda number: f"{DIGITS} image {number}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """How torchvision is asked for a set."""

    loader: str
    splits: Mapping[str, Mapping[str, Any]]
    numbered: int = 0
    """Number of classes, for the loaders that have no names for them."""


_BY_FLAG: Mapping[str, Mapping[str, Any]] = {"train": {"train": True}, "test": {"train": False}}
_BY_NAME: Mapping[str, Mapping[str, Any]] = {"train": {"split": "train"}, "test": {"split": "test"}}
_WITH_VAL: Mapping[str, Mapping[str, Any]] = {
    split: {"split": split} for split in ("train", "val", "test")
}

TORCHVISION: Mapping[str, _Known] = {
    "cifar10": _Known(loader="CIFAR10", splits=_BY_FLAG),
    "cifar100": _Known(loader="CIFAR100", splits=_BY_FLAG),
    "dtd": _Known(loader="DTD", splits=_WITH_VAL),
    "eurosat": _Known(loader="EuroSAT", splits={"train": {}}),
    "fashion-mnist": _Known(loader="FashionMNIST", splits=_BY_FLAG),
    "fgvc-aircraft": _Known(loader="FGVCAircraft", splits=_WITH_VAL),
    "flowers102": _Known(loader="Flowers102", splits=_WITH_VAL),
    "food101": _Known(loader="Food101", splits=_BY_NAME),
    "gtsrb": _Known(loader="GTSRB", splits=_BY_NAME, numbered=43),
    "kmnist": _Known(loader="KMNIST", splits=_BY_FLAG),
    "mnist": _Known(loader="MNIST", splits=_BY_FLAG),
    "oxford-iiit-pet": _Known(
        loader="OxfordIIITPet", splits={"train": {"split": "trainval"}, "test": {"split": "test"}}
    ),
    "stl10": _Known(loader="STL10", splits=_BY_NAME),
    "svhn": _Known(loader="SVHN", splits=_BY_NAME, numbered=10),
    "usps": _Known(loader="USPS", splits=_BY_FLAG, numbered=10),
}
"""Our name for a set -> torchvision's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Torchvision:
    name: str
    root: Path
    dataset: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dataset", self.name)

    def signature(self) -> str:
        digest = blake2b(os.fsencode(self.root), digest_size=16)
        for path in sorted(self.root.rglob("*")):
            if path.is_file():
                stat = path.stat()
                state = f"\0{stat.st_size}\0{stat.st_mtime_ns}\0"
                digest.update(state.encode() + os.fsencode(path))
        return digest.hexdigest()

    def open(self, *, download: bool) -> Source:
        known = TORCHVISION[self.name]
        parts = {
            split: self._load(known, options, download=download)
            for split, options in known.splits.items()
        }
        first = parts["train"]
        names = map(str, range(known.numbered)) if known.numbered else first.classes
        places = [(part, index) for part in parts.values() for index in range(len(part))]
        describe = partial(_place_name, self.name, places)
        return Source(
            class_names=tuple(map(str, names)),
            splits={split: len(part) for split, part in parts.items()},
            read=lambda number: _read_place(places[number], describe(number)),
            name=describe,
        )

    def _load(self, known: _Known, options: Mapping[str, Any], *, download: bool) -> Any:
        from torchvision import datasets  # slow to import

        if download:
            self.root.mkdir(parents=True, exist_ok=True)
        try:
            return getattr(datasets, known.loader)(root=self.root, download=download, **options)
        except (RuntimeError, OSError, ImportError) as error:
            why = " ".join(str(error).split())
            if download:
                raise DatasetError(f"data set '{self.name}' cannot be downloaded: {why}") from error
            raise DatasetError(
                f"data set '{self.name}' is not in '{shown(self.root)}'; add --download to fetch it"
            ) from error


def _read_place(place: tuple[Any, int], name: str) -> tuple[NDArray[np.uint8], int]:
    part, index = place
    try:
        image, label = part[index]
        assert isinstance(image, Image.Image)  # every loader in the table yields pictures
        return to_rgb(image), int(label)
    except UNREADABLE as error:
        raise DatasetError(f"{name} is not a readable image ({error})") from error


def _place_name(dataset: str, places: list[tuple[Any, int]], number: int) -> str:
    part, index = places[number]
    return f"{dataset} ({type(part).__name__}) image {index}"


def _text_digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()
