from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from orchestrator.errors import NotReady
from orchestrator.runners.ray_session import KILLED, reason_of_death
from orchestrator.runners.ray_setup import check_address, diverted_stderr, prepare_environment

OURS = (
    "RAY_USAGE_STATS_ENABLED",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO",
    "RAY_DEDUP_LOGS_SKIP_REGEX",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN",
    "RAY_TMPDIR",
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in OURS:
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    return monkeypatch


def test_an_instance_of_our_own_is_private(environment: pytest.MonkeyPatch) -> None:
    environment.delitem(sys.modules, "ray", raising=False)
    prepare_environment(local=True)
    assert os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "0"
    assert os.environ["RAY_AUTH_MODE"] == "token"
    first = os.environ.pop("RAY_AUTH_TOKEN")
    prepare_environment(local=True)
    assert os.environ["RAY_AUTH_TOKEN"] not in ("", first)


def test_ray_imported_without_a_token_is_not_given_one_too_late(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setitem(sys.modules, "ray", sys)
    prepare_environment(local=True)
    assert "RAY_AUTH_MODE" not in os.environ
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_on_a_cluster_the_addresses_and_the_token_are_the_clusters() -> None:
    prepare_environment(local=False)
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ
    assert "RAY_AUTH_MODE" not in os.environ
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_what_the_user_set_stays(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("RAY_USAGE_STATS_ENABLED", "1")
    environment.setenv("RAY_AUTH_MODE", "disabled")
    prepare_environment(local=True)
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "1"
    assert "RAY_AUTH_TOKEN" not in os.environ


def test_a_folder_too_deep_for_sockets_is_not_used(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TMPDIR", "/scratch/" + "deep/" * 10)
    prepare_environment(local=True)
    assert os.environ["RAY_TMPDIR"] == "/tmp"


def test_auto_needs_a_head_on_this_machine(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(NotReady, match="auto finds no head"):
        check_address("auto")
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:9\n")
    with pytest.raises(NotReady, match=r"nothing answers at 127\.0\.0\.1:9"):
        check_address("auto")


def test_standard_error_is_diverted_below_python_too(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with diverted_stderr(tmp_path / "log"):
        os.write(2, b"from below\n")
        print("from above", file=sys.stderr)
    print("afterwards", file=sys.stderr)
    assert "from below" in (tmp_path / "log").read_text()
    assert "from below" not in (said := capfd.readouterr().err)
    assert "afterwards" in said
    with diverted_stderr(tmp_path / "empty"):
        pass
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Worker exit detail: ... code 2. End of file. Some common causes include", KILLED),
        (
            "Task was killed due to the node running low on memory.\nMemory on the node was",
            "out of memory: ended by Ray to keep its machine alive",
        ),
        (
            "its process has died. Worker exit detail: Worker exits with an exit code 3.\nmore",
            "Worker exits with an exit code 3.",
        ),
        (
            "an error raised in its creation task\n  File 'x'\nModuleNotFoundError: No module\n",
            "ModuleNotFoundError: No module",
        ),
        ("", "for no reason that Ray knows"),
    ],
)
def test_the_reason_of_a_death_fits_a_line(text: str, reason: str) -> None:
    assert reason_of_death(text) == reason
