import json
import warnings
from pathlib import Path
from random import Random

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from search_spaces.published import PUBLISHED, published
from trainer.complexity import count, depth_costs
from trainer.config import BlockStage, EfficientNetConfig, ModelConfig, WideResNetConfig
from trainer.models.baselines import BASELINES, baseline
from trainer.models.build import build
from trainer.models.children import child

GOLDENS = Path(__file__).parents[1] / "golden"
GOLDEN = json.loads((GOLDENS / "efficientnet.json").read_text())
WIDE_RESNETS = json.loads((GOLDENS / "wide_resnet.json").read_text())["published"]


def counted_by_torch(config: ModelConfig) -> tuple[int, int, int]:
    """Parameters, multiply-adds and elements of convolution outputs of the built network."""
    with torch.device("meta"):
        network, images = (
            build(config).eval(),
            torch.empty(1, 3, config.resolution, config.resolution),
        )
    outputs = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    params = sum(parameter.numel() for parameter in network.parameters())
    return params, counter.get_total_flops() // 2, sum(output.numel() for output in outputs)


def counted_here(config: ModelConfig) -> tuple[int, int, int]:
    cost = count(config)
    return cost.params, cost.macs, cost.activations


@torch.no_grad()  # else the trace keeps every activation, and L2 needs over 20 GiB
def counted_by_fvcore(config: ModelConfig) -> int:
    network, images = build(config).eval(), torch.zeros(1, 3, config.resolution, config.resolution)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore scripts and traces, which torch deprecates
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(network, images).unsupported_ops_warnings(False)
        by_operator = analysis.by_operator()
    return by_operator["conv"] + by_operator["linear"]


def odd_wide_resnet(seed: int) -> WideResNetConfig:
    rng = Random(seed)
    stem, *channels = (rng.choice([7, 12, rng.randrange(1, 40)]) for _ in range(4))
    return WideResNetConfig(
        depth=rng.choice([10, 16, 22]),
        channels=tuple(channels),
        stem_channels=stem,
        num_classes=rng.randrange(2, 50),
        resolution=rng.randrange(4, 40),
    )


def odd_config(seed: int) -> EfficientNetConfig:
    rng = Random(seed)
    stages = tuple(
        BlockStage(
            operator=rng.choice(["mbconv", "mbconv", "fused-mbconv"]),
            kernel=rng.choice([1, 3, 5, 7]),
            stride=rng.choice([1, 2]),
            expand=rng.choice([1, 2, 3, 6]),
            channels=rng.randrange(1, 40),
            repeats=rng.randrange(1, 4),
        )
        for _ in range(rng.randrange(1, 6))
    )
    return EfficientNetConfig(
        stem_channels=rng.randrange(1, 40),
        stem_stride=rng.choice([1, 2]),
        stages=stages,
        head_channels=rng.randrange(1, 100),
        num_classes=rng.randrange(2, 50),
        resolution=rng.randrange(64, 98),
    )


@pytest.mark.parametrize("name", GOLDEN["published"])
def test_a_published_network_has_its_known_parameters_and_multiply_adds(name):
    cost, known = count(published(name)), GOLDEN["published"][name]
    assert (cost.params, cost.macs) == (known["params"], known["macs"])
    assert cost.flops == 2 * known["macs"]


@pytest.mark.parametrize("name", GOLDEN["activations_in_millions"])
def test_activations_are_those_that_network_design_papers_print(name):
    millions = count(published(name)).activations / 1e6
    assert round(millions, 1) == GOLDEN["activations_in_millions"][name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_cost_what_torch_counts(name):
    assert counted_here(published(name)) == counted_by_torch(published(name))


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_cost_what_torch_counts(name):
    assert counted_here(baseline(name)) == counted_by_torch(baseline(name))


@pytest.mark.parametrize("seed", range(24))
def test_odd_networks_cost_what_torch_and_fvcore_count(seed):
    config = odd_config(seed)
    assert counted_here(config) == counted_by_torch(config)
    assert count(config).macs == counted_by_fvcore(config)


@pytest.mark.parametrize("name", WIDE_RESNETS)
def test_a_published_wide_resnet_has_its_known_parameters_and_multiply_adds(name):
    cost, known = count(child(name, num_classes=10, resolution=32)), WIDE_RESNETS[name]
    assert (cost.params, cost.macs) == (known["params"], known["macs"])
    assert round(cost.params / 1e6, 1) == known["millions"]


@pytest.mark.parametrize("name", [*WIDE_RESNETS, "wrn-16-1", "wrn-10-0.5"])
def test_wide_resnets_cost_what_torch_counts(name):
    config = child(name, num_classes=10, resolution=32)
    assert counted_here(config) == counted_by_torch(config)


def test_wrn_40_2_costs_what_fvcore_counts():
    config = child("wrn-40-2", num_classes=10, resolution=32)
    assert count(config).macs == counted_by_fvcore(config)


@pytest.mark.parametrize("seed", range(12))
def test_odd_wide_resnets_cost_what_torch_and_fvcore_count(seed):
    config = odd_wide_resnet(seed)
    assert counted_here(config) == counted_by_torch(config)
    assert count(config).macs == counted_by_fvcore(config)


@pytest.mark.parametrize(
    "name",
    [
        *["B0", "B1", "B2"],
        *[pytest.param(name, marks=pytest.mark.slow) for name in PUBLISHED if name > "B2"],
    ],
)
def test_published_networks_cost_what_fvcore_counts(name):
    assert count(published(name)).macs == counted_by_fvcore(published(name))


def test_efficientnet_v2_s_costs_what_torchvision_states():
    cost, stated = (
        count(baseline("efficientnet-v2-s")),
        models.EfficientNet_V2_S_Weights.DEFAULT.meta,
    )
    assert cost.params == stated["num_params"]
    assert round(cost.macs / 1e9, 3) == stated["_ops"]


def test_b2_at_torchvisions_288_px():
    assert count(published("B2").with_(resolution=288)).macs == 1_087_529_456


def test_a_last_row_at_33_px_more_than_doubles_the_cost():
    at_32, at_33 = (
        count(baseline("efficientnet-b0", num_classes=10, resolution=side)).macs
        for side in (32, 33)
    )
    assert at_33 / at_32 == pytest.approx(2.41, abs=0.005)


def test_the_cost_is_affine_in_the_repeats():
    costs = depth_costs(baseline("efficientnet-b0", depth=3))
    deep = baseline("efficientnet-b0", depth="2.7")
    repeats = [stage.repeats for stage in deep.stages]
    assert costs.at(repeats) == count(deep)
    assert costs.macs_at(repeats) == count(deep).macs
