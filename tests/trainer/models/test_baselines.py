import hashlib
import json

import pytest

from trainer.errors import ConfigError
from trainer.models.baselines import BASELINES, baseline
from trainer.strict import told


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_at_factor_one_is_the_table(name):
    assert baseline(name) == BASELINES[name]


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("efficientnet-b0", "c6049cd439e059f9"),
        ("efficientnet-b0-small", "66be67eee5c06117"),
        ("efficientnet-v2-s", "82c9be3e511f9dbf"),
    ],
)
def test_the_json_that_trial_keys_are_made_of_stays_what_it_was(name, digest):
    text = json.dumps(told(baseline(name).to_json()), sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == digest


def test_the_small_baseline_differs_from_b0_in_stem_stride_and_resolution_alone():
    small = baseline("efficientnet-b0-small")
    assert (small.stem_stride, small.resolution, small.total_stride) == (1, 32, 16)
    assert small.with_(stem_stride=2, resolution=224) == baseline("efficientnet-b0")


def test_width_reaches_stem_stages_and_head():
    half = baseline("efficientnet-b0-small", num_classes=10, width=0.5)
    assert (half.stem_channels, half.head_channels, half.num_classes) == (16, 640, 10)
    assert [stage.channels for stage in half.stages] == [8, 16, 24, 40, 56, 96, 160]


def test_an_unknown_baseline_names_the_choices_and_the_near_one():
    with pytest.raises(ConfigError, match=r"'efficientnet-bo'; choose .*Did you mean 'efficient"):
        baseline("efficientnet-bo")


@pytest.mark.parametrize("factor", [0, -1, "nan"])
def test_a_factor_that_is_not_positive_is_refused(factor):
    with pytest.raises(ConfigError, match=r"baseline\.width"):
        baseline("efficientnet-b0", width=factor)


def test_a_resolution_below_the_total_stride_is_refused():
    with pytest.raises(ConfigError, match="16 px is below the network's total stride 32"):
        baseline("efficientnet-b0", resolution=16)
