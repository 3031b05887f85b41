import json

import pytest

from tests.trainer.fixres.factories import adaptation
from trainer.errors import ConfigError
from trainer.fixres.config import FixResConfig, effective_lr
from trainer.preprocessing import preprocessing


@pytest.mark.parametrize(
    ("lr", "batch_size", "effective"),
    [(1e-3, 512, 8e-3), (1e-3, 256, 4e-3), (1e-4, 512, 8e-4), (2e-2, 512, 0.16)],
)
def test_the_published_rates(lr: float, batch_size: int, effective: float) -> None:
    assert effective_lr(lr, batch_size=batch_size) == pytest.approx(effective, rel=1e-12)


@pytest.mark.parametrize(
    ("resolution", "short_side"), [(224, 256), (320, 366), (384, 439), (480, 549), (600, 686)]
)
def test_the_resize_keeps_its_ratio_to_the_crop(resolution: int, short_side: int) -> None:
    assert preprocessing(resolution, crop_fraction=0.875).short_side == short_side


def test_a_resolution_below_the_strides_is_refused_on_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        adaptation(test_resolution=3)
    assert str(caught.value) == (
        "test_resolution: 3 px is below the network's total stride 4; use at least 4"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"crop_fraction": 0.0},
        {"crop_fraction": 1.1},
        {"epochs": 0},
        {"lr": 0.0},
        {"batch_size": 1},
        {"momentum": 1.0},
        {"weight_decay": -1.0},
        {"step_epochs": 0},
        {"label_smoothing": 1.0},
        {"cache_bytes": -1},
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(change: dict[str, float]) -> None:
    (name,) = change
    with pytest.raises(ConfigError, match=f"^{name} must"):
        adaptation(**change)


def test_the_configuration_is_json_and_holds_the_source() -> None:
    config = adaptation()
    found = json.loads(json.dumps(config.to_json()))
    assert found["source"] == config.source.to_json()
    assert found["test_resolution"] == 24


@pytest.mark.parametrize(
    ("kind", "reports"), [("none", 1), ("parametric", 2), ("statistics", 2), ("finetune", 4)]
)
def test_how_many_reports_there_will_be(kind: str, reports: int) -> None:
    assert adaptation(adaptation=kind).num_reports == reports


def test_the_defaults_are_valid() -> None:
    config = FixResConfig(source=adaptation().source, test_resolution=32)
    assert config.preprocessing.short_side == 37
