"""What the fixtures of this folder hand to tests."""

from collections.abc import Callable
from pathlib import Path

MakeFolder = Callable[..., Path]
"""See `make_folder` in `conftest.py`."""
