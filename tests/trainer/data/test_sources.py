import inspect
import struct
from pathlib import Path

import numpy as np
import pytest
from torchvision import datasets

from tests.trainer.data.factories import MakeFolder
from trainer.data.cache import prepare
from trainer.data.sources import TORCHVISION, find
from trainer.errors import ConfigError, DatasetError


def test_an_unknown_name_lists_the_choices_and_the_likely_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"image folder\. Did you mean 'cifar10'\?") as caught:
        find("cifar-10", data_root=tmp_path)
    assert "digits" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["./digits", "no/such", "/no/such", "~/no-such-set"])
def test_what_looks_like_a_path_is_one(tmp_path: Path, path: str) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        find(path, data_root=tmp_path)


def test_the_digits_are_all_there(tmp_path: Path) -> None:
    source = find("digits", data_root=tmp_path).open(download=False)
    images, labels = zip(*map(source.read, range(source.splits["train"])), strict=True)
    assert np.stack(images).shape == (1797, 8, 8, 3)
    assert (np.min(images), np.max(images)) == (0, 255)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


@pytest.mark.parametrize("name", TORCHVISION)
def test_a_set_that_is_not_there_asks_for_download(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match=rf"'{name}' is not in .*add --download"):
        prepare(name, cache_root=tmp_path)


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_knows_our_way_of_asking(tmp_path: Path, name: str) -> None:
    known = TORCHVISION[name]
    signature = inspect.signature(getattr(datasets, known.loader))
    for options in known.splits.values():
        signature.bind(root=tmp_path, download=False, **options)


def _write_mnist(root: Path, labels: list[int]) -> None:
    raw = root / "mnist" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
    for part in ("train", "t10k"):
        header = struct.pack(">IIII", 0x803, len(labels), 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(header + pixels.tobytes())
        header = struct.pack(">II", 0x801, len(labels))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(header + bytes(labels))


def test_a_torchvision_set_that_is_there_is_read(tmp_path: Path) -> None:
    labels = list(range(10)) * 2
    _write_mnist(tmp_path, labels)
    decoded = prepare("mnist", cache_root=tmp_path / "cache", data_root=tmp_path)
    assert decoded.class_names[:2] == ("0 - zero", "1 - one")
    assert decoded.splits == {"train": range(20), "test": range(20, 40)}
    assert decoded.labels.tolist() == labels * 2
    assert decoded.fixed_size == (28, 28)


def test_a_signature_changes_with_any_file_and_only_then(make_folder: MakeFolder) -> None:
    root = make_folder({"train": {"a": 2, "b": 2}})
    before = find(str(root), data_root=root).signature()
    assert find(f"{root}/../{root.name}", data_root=root).signature() == before
    file = root / "train" / "a" / "0000.png"
    file.write_bytes(file.read_bytes() + b"\0")
    assert find(str(root), data_root=root).signature() != before
