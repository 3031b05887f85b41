import subprocess
import sys

import pytest
import torch

from trainer.config import WideResNetConfig
from trainer.errors import ConfigError
from trainer.models.baselines import BASELINES, baseline
from trainer.models.build import build
from trainer.models.children import CHILDREN, child


@pytest.mark.parametrize("name", CHILDREN)
def test_every_child_can_be_built_for_any_classes_and_resolution(name: str) -> None:
    config = child(name, num_classes=7, resolution=48)
    with torch.device("meta"):
        logits = build(config).eval()(torch.empty(1, 3, 48, 48))
    assert (logits.shape, config.resolution) == ((1, 7), 48)


@pytest.mark.parametrize(
    ("name", "depth", "channels"),
    [
        ("wrn-40-2", 40, (32, 64, 128)),
        ("wrn-28-10", 28, (160, 320, 640)),
        ("wrn-16-1", 16, (16, 32, 64)),
        ("wrn-10-0.5", 10, (8, 16, 32)),
        ("wrn-10-0.25", 10, (4, 8, 16)),
        ("wrn-22-1.5", 22, (24, 48, 96)),
    ],
)
def test_a_name_gives_the_depth_and_the_width(
    name: str, depth: int, channels: tuple[int, int, int]
) -> None:
    expected = WideResNetConfig(
        depth=depth,
        channels=channels,
        stem_channels=min(16, channels[0]),
        num_classes=10,
        resolution=32,
    )
    assert child(name, num_classes=10, resolution=32) == expected


def test_the_same_network_under_two_names_is_one_configuration() -> None:
    wide = child("wrn-16-2", num_classes=10, resolution=32)
    assert child("wrn-16-1", num_classes=10, resolution=32, width=2) == wide
    assert child("wrn-16-2.0", num_classes=10, resolution=32) == wide


@pytest.mark.parametrize("name", BASELINES)
def test_a_baseline_is_a_child_too(name: str) -> None:
    expected = baseline(name, num_classes=10, resolution=64, width="0.5")
    assert child(name, num_classes=10, resolution=64, width="0.5") == expected


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wrn-41-2", "model.depth must be 6n .* got 41; try 40 or 46"),
        ("wrn-16-0", "child 'wrn-16-0': the width must be a positive multiple of 0.25, got 0$"),
        ("wrn-16-0.3", "child 'wrn-16-0.3': .* multiple of 0.25, got 0.3$"),
        ("wrn-40", "child: unknown value 'wrn-40'; choose .* Did you mean 'wrn-40-2'"),
        ("wrn-16-1e9", "child: unknown value"),
        ("resnet-50", "child: unknown value 'resnet-50'; choose from wrn-40-2, "),
    ],
)
def test_a_name_that_means_no_network_is_refused(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        child(name, num_classes=10, resolution=32)
    assert "\n" not in str(caught.value)


def test_a_width_that_breaks_the_channels_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'wrn-16-1': the width .* got 0.1"):
        child("wrn-16-1", num_classes=10, resolution=32, width="0.1")


@pytest.mark.parametrize("name", ["wrn-10-0.5", "efficientnet-b0-small"])
def test_the_same_seed_builds_the_same_weights_and_another_others(name: str) -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(build(child(name, num_classes=4, resolution=32)).state_dict())
    first, again, other = states
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert not all(torch.equal(value, other[key]) for key, value in first.items())


def test_children_are_known_without_loading_torch() -> None:
    program = "import sys, trainer.models.children; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
