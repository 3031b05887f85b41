"""Speeds that are really measured, of networks that take moments."""

from typing import Any

import pytest

from orchestrator.ablation import speed
from orchestrator.ablation.speed import ROUNDS, inference_speeds, measure_speed
from orchestrator.ablation.speed_trials import OBJECTIVE, SpeedConfig, TimedNetwork
from orchestrator.runners.base import Job
from orchestrator.trial import TrialSpec, trial_key
from tests.factories import workspace
from trainer.config import ExecutionConfig
from trainer.errors import ConfigError
from trainer.models.resnets import named_resnet

SMALL, LARGE = (
    TimedNetwork(
        model=named_resnet("resnet-20", num_classes=10, resolution=16, width=width),
        execution=ExecutionConfig(channels_last=True, precision=precision),
    )
    for width, precision in (("0.25", "fp32"), ("2", "bf16"))
)
BOTH = SpeedConfig(networks=(SMALL, LARGE), threads=1)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "SECONDS", 0.01)
    monkeypatch.setattr(speed, "LONGEST_PASS", 60.0)  # a busy machine is not a slow network


def measured(config: SpeedConfig = BOTH) -> dict[str, Any]:
    *turns, found = inference_speeds(config)
    assert turns == [None] * len(config.networks) * (ROUNDS + 1)
    assert found is not None
    return found


def test_networks_are_measured_in_turn_each_as_it_computes() -> None:
    found = measured()
    small, large = found["networks"]
    assert small["images_per_second"] > large["images_per_second"]
    assert (small["precision"], large["precision"]) == ("fp32", "bf16")
    for each in found["networks"]:
        assert each["batch_size"] == 64
        assert each["latency_range"][0] <= each["latency_seconds"] <= each["latency_range"][1]
        low, high = each["images_per_second_range"]
        assert low <= each["images_per_second"] <= high
        assert min(each["passes"]) >= ROUNDS
        assert each["images_per_second"] * each["latency_seconds"] > 0.5  # a batch is no slower
    assert (found["threads"], found["rounds"]) == (1, ROUNDS)
    assert 0 < found["cpu_share"] <= 1.5


def test_a_batch_that_would_take_too_long_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "LONGEST_PASS", 0.0)
    (found,) = measured(SpeedConfig(networks=(SMALL,), threads=1))["networks"]
    assert found["batch_size"] == 1


def job(config: SpeedConfig, tmp_path: Any) -> Job:
    key = trial_key(OBJECTIVE, config, fingerprint="")
    spec = TrialSpec(key=key, stage="ablate", objective=OBJECTIVE, config=config)
    return Job(spec=spec, attempt=1, workspace=workspace(tmp_path))


def test_a_long_measurement_gives_signs_of_life_and_can_be_stopped(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "BEAT_SECONDS", 0.0)
    *beats, report = measure_speed(job(BOTH, tmp_path), lambda: False)
    assert [beat["training"] for beat in beats] == [1] * 2 * (ROUNDS + 1)
    assert report["epoch"] == 1
    assert list(measure_speed(job(BOTH, tmp_path), lambda: True)) == []


def test_measuring_again_is_another_trial() -> None:
    again = BOTH.with_(again=1)
    one, other = (trial_key(OBJECTIVE, each, fingerprint="") for each in (BOTH, again))
    assert one != other
    with pytest.raises(ConfigError, match="at least one"):
        SpeedConfig(networks=(), threads=1)
