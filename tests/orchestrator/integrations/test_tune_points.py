import pytest

from orchestrator.errors import UsageError
from orchestrator.integrations.tune_points import spec_at
from orchestrator.stages.scaling.stage import ScalingSearch
from tests.simulated_search import search_plan
from trainer.config import TrainConfig
from trainer.errors import ConfigError

PLAN = search_plan()
NAME = next(iter(PLAN.by_name))


def test_a_point_is_the_trial_that_our_own_search_would_run() -> None:
    search = ScalingSearch(PLAN)
    race = search.races(PLAN.recipe)[NAME]
    assert spec_at(PLAN, {"network": NAME}).key == race.key
    fresh = search.runs(PLAN.recipe, PLAN.by_name[NAME])[2]
    assert spec_at(PLAN, {"network": NAME, "seed": 2}) == fresh


def test_paths_reach_into_the_training_configuration_and_become_labels() -> None:
    point = {"network": NAME, "optim.lr": 0.3, "optim.momentum": 0.8, "label_smoothing": 0.1}
    spec = spec_at(PLAN, point)
    assert isinstance(spec.config, TrainConfig)
    optim = spec.config.optim
    assert (optim.lr, optim.momentum, spec.config.label_smoothing) == (0.3, 0.8, 0.1)
    assert spec.labels["optim.lr"] == 0.3
    assert spec.key != spec_at(PLAN, {"network": NAME}).key


def test_a_point_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="network: unknown value 'α=9'"):
        spec_at(PLAN, {"network": "α=9"})
    with pytest.raises(UsageError, match=r"train\.optim\.lrr: unknown key"):
        spec_at(PLAN, {"network": NAME, "optim.lrr": 0.3})
