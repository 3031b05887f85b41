import math

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.efficientnet import FusedMBConv, MBConv
from torchvision.ops import StochasticDepth

from search_spaces.published import published
from trainer.config import BlockStage, EfficientNetConfig
from trainer.errors import ConfigError
from trainer.models.baselines import baseline
from trainer.models.build import build


def small(**changes) -> EfficientNetConfig:
    return baseline("efficientnet-b0-small", num_classes=4, width=0.25).with_(**changes)


def drop_rates(config: EfficientNetConfig) -> list[float]:
    with torch.device("meta"):
        network = build(config)
    return [module.p for module in network.modules() if isinstance(module, StochasticDepth)]


@pytest.mark.parametrize(
    ("config", "peer"),
    [
        (published("B0").with_(norm_eps=1e-5), models.efficientnet_b0),
        (published("B3").with_(norm_eps=1e-5), models.efficientnet_b3),
        (baseline("efficientnet-v2-s"), models.efficientnet_v2_s),
    ],
    ids=["b0", "b3", "v2-s"],
)
@torch.no_grad()
def test_a_network_loads_into_torchvisions_and_gives_the_same_logits(config, peer):
    ours, theirs = build(config).eval(), peer().eval()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(ours(images), theirs(images))


@pytest.mark.parametrize("name", ["B1", "B2", "B4", "B5", "B6", "B7"])
def test_every_published_network_has_torchvisions_names_and_shapes(name):
    with torch.device("meta"):
        ours = build(published(name)).state_dict()
        theirs = getattr(models, f"efficientnet_{name.lower()}")().state_dict()
    assert {key: value.shape for key, value in ours.items()} == {
        key: value.shape for key, value in theirs.items()
    }


@pytest.mark.parametrize(
    ("name", "blocks", "last"),
    [("B0", 16, 0.1875), ("B1", 23, 0.191304), ("B7", 55, 0.196364)],
)
def test_the_drop_rate_rises_over_the_blocks_after_scaling(name, blocks, last):
    rates = drop_rates(published(name))
    assert rates == pytest.approx([0.2 * i / blocks for i in range(blocks)])
    assert rates[-1] == pytest.approx(last, abs=1e-6)


def test_stochastic_depth_drops_whole_branches_of_single_images():
    stage = BlockStage(kernel=3, stride=1, expand=1, channels=8, repeats=2)
    config = small(stem_channels=8, stages=(stage,), stochastic_depth=0.9, resolution=8)
    block = build(config).features[1][1]
    images = torch.rand(64, 8, 8, 8)
    block.train().block.eval()  # the branch itself shall not depend on the rest of the batch
    branch = (block(images) - images).flatten(1)
    kept = branch.abs().amax(1) > 0
    assert 0 < kept.sum() < len(images)
    survival = 1 - block.stochastic_depth.p
    expected = block.block(images).flatten(1)[kept] / survival
    assert torch.allclose(branch[kept], expected, atol=1e-5)


@pytest.mark.parametrize(("stem_stride", "side"), [(1, 32), (2, 16)])
@torch.no_grad()
def test_the_stem_strides_as_configured(stem_stride, side):
    network = build(small(stem_stride=stem_stride)).eval()
    assert network.features[0](torch.rand(1, 3, 32, 32)).shape == (1, 8, side, side)
    assert network(torch.rand(2, 3, 32, 32)).shape == (2, 4)


def test_channels_that_are_no_multiple_of_8_are_built_as_they_are():
    stage = BlockStage(kernel=3, stride=2, expand=3, channels=5, repeats=2)
    network = build(small(stem_channels=7, stages=(stage,), head_channels=11, resolution=8))
    widths = [
        m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups == 1
    ]
    assert widths == [7, 21, 1, 21, 5, 15, 1, 15, 5, 11]


@pytest.mark.parametrize("change", [{"kernel": 4}, {"stride": 3}, {"repeats": 0}])
def test_a_stage_that_cannot_be_built_is_refused_where_it_is_made(change):
    with pytest.raises(ConfigError, match=f"model.stages: {next(iter(change))} must be"):
        baseline("efficientnet-b0").stages[0].with_(**change)


def test_batch_norm_and_dropout_follow_the_configuration():
    network = build(small(norm_eps=1e-4, norm_momentum=0.03, dropout=0.4))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-4, 0.03)}
    assert network.classifier[0].p == 0.4


@pytest.mark.parametrize(("init", "fan_out"), [("tf", 25), ("torchvision", 25 * 672)])
def test_a_depthwise_convolution_starts_wide_under_tf_and_narrow_under_torchvision(init, fan_out):
    network = build(baseline("efficientnet-b0-small").with_(init=init))
    depthwise = network.features[5][1].block[1][0]
    assert depthwise.groups == 672
    assert depthwise.weight.std().item() == pytest.approx(math.sqrt(2 / fan_out), rel=0.05)


def test_the_tf_start_of_the_other_layers():
    network = build(baseline("efficientnet-b0-small", num_classes=100))
    head, classifier = network.features[8][0], network.classifier[1]
    assert head.weight.std().item() == pytest.approx(math.sqrt(2 / 1280), rel=0.02)
    assert classifier.weight.abs().max().item() == pytest.approx(0.1, rel=0.01)
    assert classifier.weight.abs().max() <= 0.1
    assert all(module.bias.eq(0).all() for module in network.modules() if has_bias(module))


def has_bias(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None


def test_the_same_seed_builds_the_same_weights():
    states = []
    for _ in range(2):
        torch.manual_seed(0)
        states.append(build(small()).state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize("name", ["efficientnet-b0-small", "efficientnet-v2-s"])
def test_with_zero_gamma_a_fresh_block_returns_its_input_where_it_has_a_shortcut(name):
    config = baseline(name, num_classes=4, width=0.25).with_(resolution=64, zero_gamma=True)
    network = build(config).eval()
    blocks = [part for part in network.modules() if isinstance(part, MBConv | FusedMBConv)]
    shortcuts = [block for block in blocks if block.use_res_connect]
    assert 0 < len(shortcuts) < len(blocks)
    for block in shortcuts:
        norms = [part for part in block.modules() if isinstance(part, nn.BatchNorm2d)]
        assert norms[-1].weight.eq(0).all()
        assert all(norm.weight.eq(1).all() for norm in norms[:-1])
        inputs = norms[-1].num_features
        maps = torch.randn(2, inputs, 8, 8)
        assert torch.equal(block(maps), maps)
    for block in set(blocks) - set(shortcuts):
        assert all(
            part.weight.eq(1).all() for part in block.modules() if isinstance(part, nn.BatchNorm2d)
        )


def test_zero_gamma_is_off_unless_asked_for_and_draws_nothing():
    networks = []
    for zero_gamma in (False, True):
        torch.manual_seed(0)
        networks.append(build(small(zero_gamma=zero_gamma)).state_dict())
    plain, silent = networks
    changed = {name for name in plain if not torch.equal(plain[name], silent[name])}
    assert changed
    assert all(plain[name].eq(1).all() for name in changed)
    assert not any(plain[name].eq(0).all() for name in plain if name.endswith("1.weight"))
