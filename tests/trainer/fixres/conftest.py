from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.config import DataConfig
from trainer.data.cache import prepare
from trainer.data.splits import Subset, carve

SIZES = [(40, 20), (20, 40), (26, 26), (30, 50), (22, 22)]
"""Widths and heights, in turn."""


@pytest.fixture(scope="session")
def ragged(tmp_path_factory: pytest.TempPathFactory) -> Subset:
    """Lying, upright and square noise of 20 to 50 px, to select on."""
    root: Path = tmp_path_factory.mktemp("ragged")
    rng = np.random.default_rng(0)
    for label in range(10):
        (root / "set" / "train" / str(label)).mkdir(parents=True)
        for number in range(10):
            width, height = SIZES[number % len(SIZES)]
            pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "set" / "train" / str(label) / f"{number}.png")
    decoded = prepare(str(root / "set"), cache_root=root / "cache")
    return carve(decoded, DataConfig(dataset="ragged")).selection
