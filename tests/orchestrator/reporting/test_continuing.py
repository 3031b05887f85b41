from typing import Any

import pytest
from click.testing import CliRunner

from orchestrator import api
from orchestrator.cli.commands import cli
from orchestrator.config.scaling import SearchScalingConfig
from orchestrator.reporting.continuing import command_line


def described(**options: Any) -> dict[str, Any]:
    return {"command": "search-scaling", "config": SearchScalingConfig(**options).to_json()}


def test_defaults_are_left_out() -> None:
    assert command_line(described(), "runs/a") == [
        "orchestrator",
        "search-scaling",
        "--run-dir",
        "runs/a",
    ]


def test_an_address_with_a_password_is_left_to_the_run() -> None:
    words = command_line(described(tracking_uri="http://me:secret@host"), "a")
    assert not any("secret" in word for word in words)


def test_a_changed_option_wins_over_the_runs() -> None:
    words = command_line(described(seeds=3), "a", seeds=9)
    assert words[-2:] == ["--seeds", "9"]


@pytest.mark.parametrize(
    "options",
    [
        {"epochs": 4, "seeds": 2, "download": True, "controls": "none", "gpus_per_trial": 0.5},
        {"flops_budget": "800M", "max_params": "10M", "tune_recipe": 8, "resolution": 64},
        {"halving": False, "finalists": 4, "cache_dir": "a folder"},
        {"train": {"optim": {"lr": 0.05}, "data": {"train_images": 300}, "batch_size": 32}},
    ],
)
def test_the_command_line_means_the_configuration_it_came_from(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asked(Exception):
        pass

    def search_scaling(config: SearchScalingConfig, **rest: Any) -> None:
        said.append(config)
        raise Asked

    said: list[SearchScalingConfig] = []
    monkeypatch.setattr(api, "search_scaling", search_scaling)
    _, *arguments = command_line(described(**options), "runs/a")
    with pytest.raises(Asked):
        CliRunner().invoke(cli, arguments, catch_exceptions=False)
    wanted = SearchScalingConfig(run_dir="runs/a", **options)
    numbers = {"train": wanted.train}  # the overlay's values stay text until their field is known
    assert said[0].with_(**numbers) == wanted
    assert _texts(said[0].train) == _texts(wanted.train)


def _texts(overlay: Any) -> Any:
    if isinstance(overlay, dict):
        return {key: _texts(value) for key, value in overlay.items()}
    return str(overlay)
