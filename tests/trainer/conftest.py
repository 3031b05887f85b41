from pathlib import Path

import pytest

from tests.trainer.factories import TINY_DATA
from trainer.data.cache import prepare
from trainer.data.splits import Splits, carve


@pytest.fixture(scope="session")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    """48 digits to train on, 72 to select on."""
    cache: Path = tmp_path_factory.mktemp("cache")
    return carve(prepare("digits", cache_root=cache), TINY_DATA)
