import json
from pathlib import Path
from random import Random

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

from tests.trainer.test_complexity import counted_by_fvcore, counted_here
from trainer.complexity import count
from trainer.config import ResNetConfig
from trainer.models.build import build
from trainer.models.resnet_parts.blur import BlurPool
from trainer.models.resnets import RESNETS, named_resnet
from trainer.resnet_config import BigLittle

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "resnet.json").read_text())
R50, R152 = named_resnet("resnet-50"), named_resnet("resnet-152")
SK = R50.with_(attention="sk", shortcut="pooled")
REFERENCES = {
    "resnet50": R50,
    "resnet50c": R50.with_(deep_stem=True),
    "resnet50d": named_resnet("resnet-50-d"),
    "resnetblur50": R50.with_(blur="conv+pool"),
    "seresnet50": R50.with_(attention="se"),
    "resnet152": R152,
    "resnet152d": named_resnet("resnet-152-d"),
}
ASSEMBLED = {
    "d-sk": SK.with_(deep_stem=True),
    "bl-sk": SK.with_(big_little=BigLittle()),
    "assemble-resnet-50": named_resnet("assemble-resnet-50"),
    "assemble-resnet-152": named_resnet("assemble-resnet-152"),
}


def counted_by_torch(config: ResNetConfig) -> tuple[int, int, int]:
    """As for the other families, the fixed filters of the blur among the convolutions."""
    with torch.device("meta"):
        network = build(config).eval()
        images = torch.empty(1, 3, config.resolution, config.resolution)
    outputs: list[int] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | BlurPool):
            module.register_forward_hook(lambda _m, _inputs, output: outputs.append(output.numel()))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images)
    params = sum(parameter.numel() for parameter in network.parameters())
    return params, counter.get_total_flops() // 2, sum(outputs)


def odd_resnet(seed: int) -> ResNetConfig:
    rng = Random(seed)
    stages = rng.randrange(2, 5)
    block = rng.choice(["bottleneck", "basic"])
    branches = rng.choice([None, BigLittle(alpha=rng.choice([1, 2]), beta=rng.choice([1, 2]))])
    stem = rng.choice(["imagenet", "small"])
    pooled = rng.choice([True, False])
    blurs = ["none", "conv"]
    if stem == "imagenet" and branches is None:
        blurs += ["conv+pool"] if pooled else ["conv+pool", "conv+pool+projection"]
    total = (4 if stem == "imagenet" else 1) * 2 ** (stages - 1)
    return ResNetConfig(
        block=block,
        repeats=tuple(rng.randrange(2, 5) for _ in range(stages)),
        channels=tuple(2 * rng.randrange(1, 20) for _ in range(stages)),
        stem=stem,
        stem_channels=2 * rng.randrange(1, 20),
        deep_stem=rng.choice([True, False]),
        stride_at=rng.choice(["first-1x1", "3x3"]) if block == "bottleneck" else "3x3",
        shortcut="pooled" if pooled else "conv",
        attention=rng.choice(["none", "se", "sk"]),
        se_ratio=rng.choice([2, 16]),
        sk_ratio=rng.choice([2, 16]),
        sk_minimum=rng.choice([3, 32]),
        blur=rng.choice(blurs),
        blur_size=rng.choice([3, 5]),
        big_little=branches,
        num_classes=rng.randrange(2, 50),
        resolution=2 * total if branches else rng.randrange(2 * total, 5 * total),
    )


@pytest.mark.parametrize("name", GOLDEN["reference"])
def test_a_reference_network_has_its_known_parameters_and_multiply_adds(name: str) -> None:
    cost, known = count(REFERENCES[name]), GOLDEN["reference"][name]
    assert (cost.params, cost.macs) == (known["params"], known["macs"])


@pytest.mark.parametrize("name", GOLDEN["torchvision"])
def test_a_plain_network_costs_what_torchvision_states(name: str) -> None:
    stated = models.get_model_weights(name.replace("-", "")).DEFAULT.meta
    cost, known = count(named_resnet(name)), GOLDEN["torchvision"][name]
    assert cost.params == stated["num_params"] == known["params"]
    assert round(cost.macs / 1e9, 3) == stated["_ops"] == known["gmacs"]


@pytest.mark.parametrize("name", GOLDEN["assembled"])
def test_an_assembled_network_costs_what_an_independent_rebuild_does(name: str) -> None:
    known = GOLDEN["assembled"][name]
    for resolution, gmacs in known["gmacs"].items():
        cost = count(ASSEMBLED[name].with_(resolution=int(resolution)))
        assert cost.params == known["params"]
        assert cost.macs / 1e9 == pytest.approx(gmacs, abs=0.0005 if gmacs < 10 else 0.005)


def test_the_stride_in_the_first_convolution_costs_the_3_8_g_of_the_first_paper() -> None:
    early = count(R50.with_(stride_at="first-1x1"))
    assert early.params == count(R50).params
    assert early.macs == pytest.approx(3.86e9, rel=0.001)


def test_a_cifar_network_with_projections_has_its_known_parameters() -> None:
    assert count(named_resnet("resnet-20", num_classes=10)).params == 272_474


@pytest.mark.parametrize("name", RESNETS)
def test_named_networks_cost_what_torch_counts(name: str) -> None:
    config = named_resnet(name)
    assert counted_here(config) == counted_by_torch(config)


@pytest.mark.parametrize("seed", range(24))
def test_odd_networks_cost_what_torch_and_fvcore_count(seed: int) -> None:
    config = odd_resnet(seed)
    assert counted_here(config) == counted_by_torch(config)
    assert count(config).macs == counted_by_fvcore(config)
