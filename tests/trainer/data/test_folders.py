import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainer.data.factories import MakeFolder
from trainer.data.folders import list_folder
from trainer.errors import DatasetError

THREE = {"train": {"a": 2, "b": 2}, "val": {"a": 1, "b": 1}, "test": {"a": 1, "b": 1}}


def test_splits_and_sorted_classes_are_found(make_folder: MakeFolder) -> None:
    listing = list_folder(make_folder(THREE))
    assert listing.class_names == ("a", "b")
    assert {split: [file.label for file in files] for split, files in listing.splits.items()} == {
        "train": [0, 0, 1, 1],
        "val": [0, 1],
        "test": [0, 1],
    }


@pytest.mark.parametrize("name", ["val", "valid", "Validation"])
def test_a_validation_split_has_several_names(make_folder: MakeFolder, name: str) -> None:
    root = make_folder({"train": {"a": 1, "b": 1}, name: {"a": 1, "b": 1}})
    assert list(list_folder(root).splits) == ["train", "val"]


def test_class_folders_alone_are_a_train_split(make_folder: MakeFolder) -> None:
    listing = list_folder(make_folder({"": {"b": 1, "a": 2}}))
    assert listing.class_names == ("a", "b")
    assert [file.path.parent.name for file in listing.splits["train"]] == ["a", "a", "b"]


def test_hidden_files_and_papers_beside_the_classes_are_ignored(make_folder: MakeFolder) -> None:
    root = make_folder(THREE)
    before = list_folder(root)
    (root / "README.md").write_text("about")
    (root / "train" / "labels.txt").write_text("about")
    (root / "train" / ".DS_Store").write_bytes(b"x")
    (root / "train" / "a" / ".thumbs").mkdir()
    assert list_folder(root) == before


def test_images_may_lie_deeper_in_a_class(make_folder: MakeFolder) -> None:
    root = make_folder(THREE)
    (root / "train" / "a" / "more").mkdir()
    shutil.copy(root / "train" / "b" / "0000.png", root / "train" / "a" / "more")
    assert [file.label for file in list_folder(root).splits["train"]] == [0, 0, 0, 1, 1]


def test_a_link_within_the_data_set_is_a_file_like_any_other(make_folder: MakeFolder) -> None:
    root = make_folder(THREE)
    (root / "train" / "a" / "z.png").symlink_to(root / "train" / "a" / "0000.png")
    assert len(list_folder(root).splits["train"]) == 5


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere' does not exist"):
        list_folder(tmp_path / "nowhere")


def _empty_class(root: Path) -> None:
    (root / "train" / "c").mkdir()
    (root / "val" / "c").mkdir()
    (root / "test" / "c").mkdir()


def _one_class(root: Path) -> None:
    for split in ("train", "val", "test"):
        shutil.rmtree(root / split / "b")


def _link_outside(root: Path) -> None:
    (root.parent / "secret.png").write_bytes(b"x")
    (root / "train" / "a" / "x.png").symlink_to(root.parent / "secret.png")


def _linked_class(root: Path) -> None:
    (root.parent / "elsewhere").mkdir()
    (root / "train" / "c").symlink_to(root.parent / "elsewhere")


def _no_folders(root: Path) -> None:
    for path in root.iterdir():
        shutil.rmtree(path)


BAD: dict[str, Callable[[Path], None]] = {
    "holds no class folders": _no_folders,
    r"train/c' holds no files": _empty_class,
    r"1 class folder\(s\) \(a\)": _one_class,
    r"class 'c' is not in the train split": lambda root: (root / "val" / "c").mkdir(),
    r"val' has no class 'b', which train has": lambda root: shutil.rmtree(root / "val" / "b"),
    r"mixes split folders with others \(raw\)": lambda root: (root / "raw").mkdir(),
    r"two val splits: val and valid|two val splits: valid and val": (
        lambda root: (root / "valid").mkdir()
    ),
    r"no train split, only val, test|no train split, only test, val": (
        lambda root: shutil.rmtree(root / "train")
    ),
    r"lies outside any class folder": lambda root: (root / "train" / "x.JPG").touch(),
    r"x\.png' links outside the data set": _link_outside,
    r"train/c' links outside the data set": _linked_class,
    r"links to a folder": lambda root: (root / "train" / "c").symlink_to(root / "train" / "a"),
    r"which does not exist": lambda root: (root / "train" / "a" / "x").symlink_to(root / "gone"),
    r"neither a file nor a folder": lambda root: os.mkfifo(root / "train" / "a" / "pipe"),
}


@pytest.mark.parametrize("message", BAD)
def test_a_folder_that_makes_no_sense_is_refused_on_one_line(
    make_folder: MakeFolder, message: str
) -> None:
    root = make_folder(THREE)
    BAD[message](root)
    with pytest.raises(DatasetError, match=message) as caught:
        list_folder(root)
    assert "\n" not in str(caught.value)
