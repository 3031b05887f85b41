"""A folder of pictures, read as `<split>/<class>/<file>` or `<class>/<file>`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from trainer.data.images import shown
from trainer.errors import DatasetError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""How the folder of a split may be called, in lower case, and what we call it."""

SPLIT_ORDER = ("train", "val", "test")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file of a class, with what tells whether it has changed since it was last read."""

    path: Path
    label: int
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a data set folder holds, in the order of split, class and path."""

    root: Path
    class_names: tuple[str, ...]
    splits: dict[str, tuple[FoundFile, ...]]


def list_folder(root: Path) -> Listing:
    """List the pictures of a data set folder without opening any.

    Hidden files are ignored; every other file in a class folder, at any depth, counts as a picture.
    A `<class>/<file>` folder is a single train split. Links to folders are refused, and so are
    links to files outside the data set: what is learned from lies in the folder that was named.

    Raises:
        DatasetError: the folder is missing or empty, or its splits and classes make no sense.
    """
    if not root.is_dir():
        what = "is a file, not a folder" if root.is_file() else "does not exist"
        raise DatasetError(f"data set folder '{shown(root)}' {what}")
    root = root.resolve()
    try:
        split_folders = _split_folders(root)
        class_names = _class_names(split_folders, root)
        splits = {
            split: tuple(_labelled_files(folder, class_names, root))
            for split, folder in split_folders.items()
        }
    except OSError as error:
        where = shown(error.filename or root)
        raise DatasetError(f"'{where}' cannot be read: {error.strerror}") from error
    return Listing(root=root, class_names=class_names, splits=splits)


def _split_folders(root: Path) -> dict[str, Path]:
    """The folder of each split, in the order train, val, test."""
    folders = _subfolders(root, root)
    if not folders:
        raise DatasetError(
            f"'{shown(root)}' holds no class folders; "
            "expected <split>/<class>/<file> or <class>/<file>"
        )
    named = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES]
    if not named:
        return {"train": root}
    others = [shown(folder.name) for folder in folders if folder not in named]
    if others:
        raise DatasetError(
            f"'{shown(root)}' mixes split folders with others ({', '.join(others[:3])}); "
            "splits are called train, val (valid, validation) and test"
        )
    found: dict[str, Path] = {}
    for folder in named:
        split = SPLIT_NAMES[folder.name.lower()]
        if split in found:
            raise DatasetError(
                f"'{shown(root)}' has two {split} splits: {found[split].name} and {folder.name}"
            )
        found[split] = folder
    if "train" not in found:
        raise DatasetError(f"'{shown(root)}' has no train split, only {', '.join(found)}")
    return {split: found[split] for split in SPLIT_ORDER if split in found}


def _class_names(split_folders: dict[str, Path], root: Path) -> tuple[str, ...]:
    """The class names of the train split, sorted, after checking that the others have the same."""
    train = _class_folder_names(split_folders["train"], root)
    if len(train) < 2:
        raise DatasetError(
            f"'{shown(split_folders['train'])}' holds {len(train)} class folder(s) "
            f"({', '.join(map(shown, train)) or 'none'}); classification needs at least two"
        )
    for folder in split_folders.values():
        names = _class_folder_names(folder, root)
        if unknown := sorted(set(names) - set(train)):
            raise DatasetError(
                f"'{shown(folder)}': class '{shown(unknown[0])}' is not in the train split"
            )
        if missing := sorted(set(train) - set(names)):
            raise DatasetError(
                f"'{shown(folder)}' has no class '{shown(missing[0])}', which train has"
            )
    return train


def _class_folder_names(folder: Path, root: Path) -> tuple[str, ...]:
    _refuse_loose_images(folder)
    return tuple(found.name for found in _subfolders(folder, root))


def _refuse_loose_images(folder: Path) -> None:
    """Pictures beside the class folders would be left out silently; a README there is no harm."""
    known = Image.registered_extensions()
    for entry in _visible(folder):
        if entry.is_file() and Path(entry.name).suffix.lower() in known:
            raise DatasetError(
                f"'{shown(entry.path)}' lies outside any class folder; move it to one or remove it"
            )


def _labelled_files(folder: Path, class_names: Sequence[str], root: Path) -> Iterator[FoundFile]:
    for label, name in enumerate(class_names):
        empty = True
        for found in _files(folder / name, root, label):
            empty = False
            yield found
        if empty:
            raise DatasetError(f"class folder '{shown(folder / name)}' holds no files")


def _files(folder: Path, root: Path, label: int) -> Iterator[FoundFile]:
    """All files below a folder, sorted by path."""
    for entry in _visible(folder):
        _refuse_stray_link(entry, root)
        if entry.is_dir():
            yield from _files(Path(entry.path), root, label)
        elif not entry.is_file():  # opening a pipe would wait for ever
            raise DatasetError(f"'{shown(entry.path)}' is neither a file nor a folder")
        else:
            stat = entry.stat()
            yield FoundFile(
                path=Path(entry.path),
                label=label,
                size=stat.st_size,
                modified_ns=stat.st_mtime_ns,
            )


def _subfolders(folder: Path, root: Path) -> list[Path]:
    found = []
    for entry in _visible(folder):
        if entry.is_dir():
            _refuse_stray_link(entry, root)
            found.append(Path(entry.path))
    return found


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(
            (entry for entry in entries if not entry.name.startswith(".")),
            key=lambda entry: entry.name,
        )


def _refuse_stray_link(entry: os.DirEntry[str], root: Path) -> None:
    if not entry.is_symlink():
        return
    target = Path(entry.path).resolve()
    if not target.is_relative_to(root):
        raise DatasetError(
            f"'{shown(entry.path)}' links outside the data set, to '{shown(target)}'; "
            "copy it in, or name the folder it belongs to"
        )
    if not target.exists():
        raise DatasetError(
            f"'{shown(entry.path)}' links to '{shown(target)}', which does not exist"
        )
    if target.is_dir():
        raise DatasetError(
            f"'{shown(entry.path)}' links to a folder; link its files instead, or move it"
        )
