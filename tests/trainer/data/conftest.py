"""Tiny data sets on disk and in memory."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.data.factories import MakeFolder
from trainer.data.cache import prepare
from trainer.data.decoded import DecodedSet


@pytest.fixture
def cache_root(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """A folder of noise images: `counts` per split and class, sizes (width, height) in turn."""

    def make(
        counts: dict[str, dict[str, int]],
        *,
        sizes: list[tuple[int, int]] | None = None,
        name: str = "set",
    ) -> Path:
        rng = np.random.default_rng(0)
        sizes = sizes or [(8, 8)]
        root = tmp_path / name
        for split, classes in counts.items():
            for label, count in classes.items():
                folder = root / split / label
                folder.mkdir(parents=True)
                for number in range(count):
                    width, height = sizes[number % len(sizes)]
                    pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{number:04}.png")
        return root

    return make


@pytest.fixture
def small(make_folder: MakeFolder, cache_root: Path) -> DecodedSet:
    """20 + 10 training images of 8×8 pixels in two classes."""
    folder = make_folder({"train": {"cat": 20, "dog": 10}})
    return prepare(str(folder), cache_root=cache_root)


@pytest.fixture
def ragged(make_folder: MakeFolder, cache_root: Path) -> DecodedSet:
    """Training images of several sizes, upright and lying, with a test split."""
    sizes = [(70, 90), (90, 70), (64, 64), (100, 66)]
    counts = {"train": {"a": 12, "b": 12}, "test": {"a": 4, "b": 4}}
    return prepare(str(make_folder(counts, sizes=sizes, name="ragged")), cache_root=cache_root)


@pytest.fixture(scope="session")
def real_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The unpacked folder of a real set, for those who have its archive beside the repository."""

    def unpack(name: str) -> Path:
        archives = Path(__file__).parents[4] / "shared" / "data" / name
        archive = next(archives.glob("*.tar.gz"), None)
        if archive is None:
            pytest.skip(f"the real images of {name} are not in ../shared/data/{name}")
        folder = tmp_path_factory.mktemp("real")
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
        return folder / name

    return unpack
