from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.__main__ import main

Run = Callable[..., tuple[int, str, str]]
"""From the words of a command line to its exit code, standard output and standard error."""


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Decoded data sets of all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def command_line(
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Commands typed in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call
