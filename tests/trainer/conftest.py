from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.trainer.factories import TINY_DATA
from trainer.data.cache import prepare
from trainer.data.splits import Splits, carve
from trainer.seeding import own_threads


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Networks this small only wait for each other on several."""
    with own_threads(1):
        yield


@pytest.fixture(scope="session")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    """48 digits to train on, 72 to select on."""
    cache: Path = tmp_path_factory.mktemp("cache")
    return carve(prepare("digits", cache_root=cache), TINY_DATA)
