import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from trainer.config import WideResNetConfig
from trainer.errors import ConfigError
from trainer.models.build import build
from trainer.models.wide_resnet import PreActivationBlock

SMALL = WideResNetConfig(depth=16, channels=(16, 24, 20), num_classes=4, resolution=16)


def small(**changes: Any) -> WideResNetConfig:
    return SMALL.with_(**changes)


def only_shortcuts(block: PreActivationBlock) -> PreActivationBlock:
    """The block without its residual branch, its first norm made to shift."""
    nn.init.zeros_(block.conv2.weight)
    nn.init.constant_(block.norm1.bias, 0.1)
    return block.eval()


def some_maps(channels: int) -> Tensor:
    return torch.randn(2, channels, 8, 8, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_the_second_and_the_third_group_halve_the_map() -> None:
    network = build(small()).eval()
    maps = network.stem(torch.rand(2, 3, 16, 16))
    shapes = [tuple(maps.shape)]
    for name in ("group1", "group2", "group3"):
        maps = network.get_submodule(name)(maps)
        shapes.append(tuple(maps.shape))
    assert shapes == [(2, 16, 16, 16), (2, 16, 16, 16), (2, 24, 8, 8), (2, 20, 4, 4)]
    assert network(torch.rand(2, 3, 16, 16)).shape == (2, 4)


@pytest.mark.parametrize("resolution", [4, 5, 7, 33])
@torch.no_grad()
def test_any_resolution_from_the_total_stride_on_is_classified(resolution: int) -> None:
    network = build(small(resolution=resolution)).eval()
    assert network(torch.rand(1, 3, resolution, resolution)).shape == (1, 4)


def test_the_depth_counts_every_convolution() -> None:
    config = WideResNetConfig(depth=40, channels=(32, 64, 128), num_classes=10, resolution=32)
    with torch.device("meta"):
        network = build(config)
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == 40


@torch.no_grad()
def test_a_shortcut_of_the_same_shape_is_the_raw_input() -> None:
    block = only_shortcuts(build(small()).group1[0])
    maps = some_maps(16)
    assert torch.equal(block(maps), maps)


@pytest.mark.parametrize(("group", "inputs"), [("group2", 16), ("group3", 24)])
@torch.no_grad()
def test_a_shortcut_that_changes_the_shape_projects_the_activated_input(
    group: str, inputs: int
) -> None:
    block = only_shortcuts(build(small()).get_submodule(group)[0])
    maps = some_maps(inputs)
    assert torch.equal(block(maps), block.shortcut(relu(block.norm1(maps))))


def test_a_stride_alone_changes_the_shape() -> None:
    network = build(small(channels=(16, 16, 16)))
    shortcuts = [network.get_submodule(f"group{n}")[0].shortcut for n in (1, 2, 3)]
    assert [shortcut is None for shortcut in shortcuts] == [True, False, False]


def test_dropout_lies_between_the_convolutions_and_nowhere_else() -> None:
    network = build(small(dropout=0.4))
    dropouts = {name: m.p for name, m in network.named_modules() if isinstance(m, nn.Dropout)}
    assert set(dropouts) == {f"group{n}.{i}.dropout" for n in (1, 2, 3) for i in (0, 1)}
    assert set(dropouts.values()) == {0.4}


def test_batch_norm_follows_the_configuration() -> None:
    network = build(small(norm_eps=1e-4, norm_momentum=0.03))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 13
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-4, 0.03)}


def test_convolutions_start_with_the_variance_of_their_outputs() -> None:
    network = build(small(channels=(64, 128, 128), num_classes=100))
    for convolution, fan_out in [
        (network.group2[1].conv1, 9 * 128),
        (network.group2[0].shortcut, 128),
    ]:
        assert convolution.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)
    assert network.classifier.weight.abs().max().item() == pytest.approx(128**-0.5, rel=0.01)
    assert network.classifier.bias.eq(0).all()
    assert all(
        module.weight.eq(1).all() and module.bias.eq(0).all()
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d)
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"depth": 41},
            "model.depth must be 6n + 4 for n blocks in each group, got 41; try 40 or 46",
        ),
        ({"depth": 39}, "got 39; try 34 or 40"),
        ({"depth": 4}, "got 4; try 10"),
        ({"depth": -2}, "got -2; try 10"),
        ({"channels": (16, 0, 64)}, r"model.channels must be positive, got \(16, 0, 64\)"),
        ({"stem_channels": 0}, "model.stem_channels must be at least 1, got 0"),
        ({"num_classes": 1}, "model.num_classes must be at least 2, got 1"),
        ({"dropout": 1.0}, r"model.dropout must be in \[0, 1\), got 1.0"),
        ({"resolution": 3}, "model.resolution: 3 px is below the network's total stride 4"),
    ],
)
def test_what_cannot_be_built_is_refused_where_it_is_made(
    change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said.replace("+", r"\+")):
        small(**change)
