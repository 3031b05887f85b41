from fractions import Fraction
from typing import Any

import pytest

from orchestrator.config.checks import check_decimal
from orchestrator.config.scaling import SearchScalingConfig
from trainer.errors import ConfigError


def test_the_defaults_are_the_documented_ones() -> None:
    config = SearchScalingConfig()
    assert (config.dataset, config.runner, config.flops_budget) == ("digits", "ray", "2x")
    assert (config.constraint, config.tolerance, config.grid_step) == ("counted", "0.1", "0.05")
    assert (config.seed, config.controls, config.halving) == (0, "all", True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset": ""}, "dataset must not be empty"),
        ({"dataset": "caf\udce9"}, "dataset: 'caf\\udce9' is not UTF-8 text"),
        ({"run_dir": "a\0b"}, "run_dir: 'a\\x00b' is not UTF-8 text"),
        ({"workers": 0}, "workers must be between 1 and 1,000,000, got 0"),
        ({"epochs": -1}, "epochs must be between 1 and 1,000,000, got -1"),
        ({"epochs": 10**30}, "epochs must be between 1 and 1,000,000, got 1000"),
        ({"classes": 1}, "classes must be between 2 and 1,000,000, got 1"),
        ({"seed": 2**31}, "seed must be in [0, 2147483648), got 2147483648"),
        ({"gpus_per_trial": 1.5}, "gpus_per_trial must be a fraction up to 1 or a whole number"),
        ({"runner": "inline", "ray_address": "auto"}, "ray_address: there is no cluster to join"),
        ({"flops_budget": "0.5x"}, "flops_budget: '0.5x' is less than the baseline costs"),
        ({"flops_budget": "2"}, "--flops-budget: '2' is not a budget"),
        ({"flops_budget": "9" * 20 + "T"}, "is more than any network costs"),
        ({"flops_budget": "9" * 5000 + "x"}, "is too long for a number"),
        ({"tolerance": "-0.1"}, "tolerance must be between 0 and 1000, got -0.1"),
        ({"tolerance": "1e999"}, "tolerance must be between 0 and 1000, got 1e999"),
        ({"grid_step": "nan"}, "grid_step: 'nan' is not a decimal number"),
        ({"grid_max": "0.9"}, "grid_max must be between 1 and 100, got 0.9"),
        ({"max_params": "many"}, "max_params: 'many' is not a positive count"),
        ({"finalists": 0}, "finalists must be between 1"),
        ({"tune_recipe": -1}, "tune_recipe must be between 0"),
        ({"train": {"epochs": 3}}, "train.epochs: this is decided by --epochs"),
        ({"train": {"data": {"dataset": "x"}}}, "this is decided by --dataset"),
        ({"train": {"model": {"stages": []}}}, "train.model.stages: this is decided by --baseline"),
        ({"train": {"model": {"resolution": 3}}}, "this is decided by --resolution"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SearchScalingConfig(**changes)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("gpus", [0, 0.25, 1, 8])
def test_a_trial_may_have_a_part_of_a_gpu_or_several(gpus: float) -> None:
    assert SearchScalingConfig(gpus_per_trial=gpus).gpus_per_trial == gpus


def test_decimals_are_exact() -> None:
    assert check_decimal("tolerance", "0.1", least=0, most=1) == Fraction(1, 10)


def test_a_run_is_placed_where_it_was_asked_for_or_under_its_stage_and_time() -> None:
    assert SearchScalingConfig(run_dir="there").placed("search-scaling") == "there"
    assert SearchScalingConfig().placed("search-scaling").startswith("runs/search-scaling-2")


def test_the_overlay_may_change_what_the_search_does_not_decide() -> None:
    train = {"model": {"dropout": 0.5}, "optim": {"lr": 0.3}}
    assert SearchScalingConfig(train=train).train == train
