import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu
from torchvision.ops import SqueezeExcitation, StochasticDepth

from trainer.config import ResNetConfig
from trainer.fixres.geometry import map_sides
from trainer.models.build import build
from trainer.models.resnet_layout import Unit, squeezed_se, squeezed_sk
from trainer.models.resnet_parts.attention import SelectiveKernels
from trainer.models.resnet_parts.big_little import StemPool, TwoBranches
from trainer.models.resnet_parts.block import ResidualBlock
from trainer.models.resnet_parts.blur import BlurPool
from trainer.models.resnets import RESNETS, named_resnet
from trainer.resnet_config import BigLittle

TINY = ResNetConfig(
    repeats=(2, 2, 2),
    channels=(8, 16, 24),
    stem="small",
    stem_channels=8,
    num_classes=4,
    resolution=16,
)
TRICKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deep": {"deep_stem": True},
    "imagenet": {"stem": "imagenet"},
    "early": {"stride_at": "first-1x1"},
    "pooled": {"shortcut": "pooled"},
    "se": {"attention": "se"},
    "sk": {"attention": "sk"},
    "blur": {"blur": "conv"},
    "blur-everywhere": {"blur": "conv+pool+projection", "blur_size": 5, "stem": "imagenet"},
    "blur-early": {"blur": "conv", "stride_at": "first-1x1"},
    "big-little": {"big_little": BigLittle()},
    "big-little-imagenet": {"big_little": BigLittle(), "stem": "imagenet", "shortcut": "pooled"},
    "basic": {"block": "basic"},
    "basic-sk": {"block": "basic", "attention": "sk", "blur": "conv"},
}


def tiny(**changes: Any) -> ResNetConfig:
    return TINY.with_(**changes)


def some_maps(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def blocks_of(network: nn.Module) -> list[ResidualBlock]:
    return [module for module in network.modules() if isinstance(module, ResidualBlock)]


@pytest.mark.parametrize("name", RESNETS)
def test_every_named_network_can_be_built(name: str) -> None:
    config = named_resnet(name, num_classes=7)
    with torch.device("meta"):
        logits = build(config).eval()(torch.empty(1, 3, config.resolution, config.resolution))
    assert logits.shape == (1, 7)


@pytest.mark.parametrize("trick", TRICKS)
def test_every_parameter_of_every_trick_learns(trick: str) -> None:
    network = build(tiny(resolution=32, **TRICKS[trick]))
    network(some_maps(4, 3, 32, 32)).square().sum().backward()
    still = [name for name, weights in network.named_parameters() if not weights.grad.any()]
    assert still == []


@pytest.mark.parametrize("trick", [trick for trick in TRICKS if "little" not in trick])
@pytest.mark.parametrize("resolution", [33, 47])
@torch.no_grad()
def test_any_resolution_is_classified(trick: str, resolution: int) -> None:
    network = build(tiny(resolution=resolution, **TRICKS[trick])).eval()
    assert network(torch.rand(1, 3, resolution, resolution)).shape == (1, 4)


@pytest.mark.parametrize("trick", TRICKS)
@torch.no_grad()
def test_with_zero_gamma_a_fresh_block_returns_its_shortcut(trick: str) -> None:
    network = build(tiny(zero_gamma=True, resolution=32, **TRICKS[trick])).eval()
    for block in blocks_of(network):
        channels = next(m.in_channels for m in block.modules() if isinstance(m, nn.Conv2d))
        maps = some_maps(2, channels, 8, 8)
        shortcut = maps if block.shortcut is None else block.shortcut(maps)
        assert torch.equal(block(maps.clone()), relu(shortcut) if block.activates else shortcut)


@pytest.mark.parametrize("trick", TRICKS)
def test_gamma_is_zero_in_the_last_norm_of_each_branch_and_nowhere_else(trick: str) -> None:
    network = build(tiny(zero_gamma=True, resolution=32, **TRICKS[trick]))
    silent = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d) and module.weight.eq(0).all()
    ]
    last = "norm2" if TRICKS[trick].get("block") == "basic" else "norm3"
    assert len(silent) == len(blocks_of(network))
    assert all(name.endswith(f"branch.{last}") for name in silent)
    assert all(
        module.weight.eq(1).all() or name in silent
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    )


@pytest.mark.parametrize(
    ("change", "sides"),
    [
        ({"stem": "imagenet", "resolution": 64}, (16, 16, 8, 4)),
        ({}, (16, 16, 8, 4)),
        ({"big_little": BigLittle()}, (16, 8, 8, 4)),
        ({"big_little": BigLittle(), "stem": "imagenet", "resolution": 64}, (16, 8, 8, 4)),
    ],
)
@torch.no_grad()
def test_maps_have_the_expected_sides(change: dict[str, Any], sides: tuple[int, ...]) -> None:
    config = tiny(**change)
    network = build(config).eval()
    maps = torch.rand(1, 3, config.resolution, config.resolution)
    found = []
    for name in ("stem", "stage1", "stage2", "stage3"):
        maps = network.get_submodule(name)(maps)
        found.append(maps.shape[-1])
    assert tuple(found) == sides == map_sides(config, config.resolution)


@torch.no_grad()
def test_a_big_little_stage_adds_the_enlarged_branch_to_the_thin_one_and_merges() -> None:
    stage = build(tiny(big_little=BigLittle())).eval().stage2
    assert isinstance(stage, TwoBranches)
    maps = some_maps(2, 32, 8, 8)
    big, little = stage.big(maps), stage.little(maps)
    assert (big.shape, little.shape) == ((2, 64, 4, 4), (2, 64, 8, 8))
    assert (big < 0).any()  # no ReLU after the last block
    assert (little < 0).any()  # nor after the convolution that widens
    expected = stage.merge(relu(little + interpolate(big, scale_factor=2)))
    assert torch.equal(stage(maps), expected)


@torch.no_grad()
def test_a_big_little_stem_adds_two_branches_of_half_the_side() -> None:
    config = tiny(big_little=BigLittle(), stem="imagenet", resolution=32)
    pool = build(config).eval().stem.pool
    assert isinstance(pool, StemPool)
    maps = some_maps(2, 8, 16, 16)
    big, little = pool.big(maps), pool.little(maps)
    assert big.shape == little.shape == (2, 8, 8, 8)
    assert (big < 0).any()
    assert (little < 0).any()  # the ReLU comes after the sum
    assert torch.equal(pool(maps), pool.merge(relu(big + little)))
    assert (pool(maps) >= 0).all()  # and one more after the convolution that merges
    assert [m.out_channels for m in pool.little.modules() if isinstance(m, nn.Conv2d)] == [4, 4, 8]


def test_a_small_big_little_stem_is_the_plain_one() -> None:
    shapes = [
        [values.shape for values in build(config).stem.state_dict().values()]
        for config in (tiny(), tiny(big_little=BigLittle()))
    ]
    assert shapes[0] == shapes[1]


def test_the_first_block_of_every_run_of_a_big_little_network_projects() -> None:
    network = build(tiny(big_little=BigLittle(), repeats=(3, 3, 3)))
    stage = network.stage2
    runs = ([*stage.big], [*stage.little][:-1], [stage.merge], [*network.stage3])
    for run in runs:
        assert [block.shortcut is not None for block in run] == [True] + [False] * (len(run) - 1)


@pytest.mark.parametrize(("stem", "stride"), [("imagenet", 2), ("small", 1)])
def test_a_deep_stem_has_three_3x3_convolutions_of_which_the_first_strides(
    stem: str, stride: int
) -> None:
    layers = build(tiny(deep_stem=True, stem=stem)).stem.convolutions
    shapes = [
        (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride[0])
        for layer in layers
        if isinstance(layer, nn.Conv2d)
    ]
    assert shapes == [(3, 4, (3, 3), stride), (4, 4, (3, 3), 1), (4, 8, (3, 3), 1)]
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 3


@torch.no_grad()
def test_a_pooled_shortcut_is_the_mean_of_two_by_two_pixels_and_a_1x1_convolution() -> None:
    shortcut = build(tiny(shortcut="pooled")).eval().stage2[0].shortcut
    maps = some_maps(1, 32, 6, 6)
    pooled = maps.view(1, 32, 3, 2, 3, 2).mean(dim=(3, 5))
    assert torch.allclose(shortcut(maps), shortcut.norm(shortcut.conv(pooled)), atol=1e-6)
    assert shortcut.conv.stride == (1, 1)
    assert [name for name, _ in shortcut.named_children()] == ["pool", "conv", "norm"]


@torch.no_grad()
def test_a_pooled_shortcut_takes_the_last_row_of_an_odd_map_for_itself() -> None:
    pool = build(tiny(shortcut="pooled")).stage2[0].shortcut.pool
    maps = some_maps(1, 32, 5, 5)
    assert torch.equal(pool(maps)[..., 2, 2], maps[..., 4, 4])


def test_a_pooled_shortcut_of_stride_1_has_no_pool() -> None:
    shortcut = build(tiny(shortcut="pooled")).stage1[0].shortcut
    assert not any(isinstance(module, nn.AvgPool2d) for module in shortcut.modules())


def test_a_pooled_shortcut_is_3x3_under_big_little_and_leaves_the_border_out() -> None:
    pool = build(tiny(shortcut="pooled", big_little=BigLittle())).stage2.big[0].shortcut.pool
    assert pool.kernel_size == 3
    assert torch.allclose(pool(torch.ones(1, 1, 4, 4)), torch.ones(1, 1, 2, 2))


@torch.no_grad()
def test_selective_kernels_weigh_the_paths_and_not_the_channels() -> None:
    unit = Unit(inputs=6, outputs=5, kernel=3, selects=True)
    kernels = SelectiveKernels(unit, squeezed=32, norm=nn.BatchNorm2d).eval()
    shares = kernels.shares(some_maps(3, 5, 1, 1))
    assert shares.shape == (3, 2, 5, 1, 1)
    assert torch.allclose(shares.sum(dim=1), torch.ones(3, 5, 1, 1))
    maps = some_maps(3, 6, 8, 8)
    first, second = relu(kernels.norm(kernels.conv(maps))).chunk(2, dim=1)
    weights = kernels.shares((first + second).mean(dim=(2, 3), keepdim=True))
    expected = weights[:, 0] * first + weights[:, 1] * second
    assert torch.allclose(kernels(maps), expected, atol=1e-6)


@torch.no_grad()
def test_selective_kernels_share_by_what_is_squeezed_normalised_and_excited() -> None:
    unit = Unit(inputs=6, outputs=5, kernel=3, selects=True)
    kernels = SelectiveKernels(unit, squeezed=32, norm=nn.BatchNorm2d).eval()
    kernels.squeeze_norm.running_mean.fill_(0.2)
    pooled = some_maps(3, 5, 1, 1)
    squeezed = relu(kernels.squeeze_norm(kernels.squeeze(pooled)))
    first, second = kernels.excite(squeezed).chunk(2, dim=1)
    shares = kernels.shares(pooled)
    assert torch.allclose(shares[:, 0], (first - second).sigmoid(), atol=1e-6)


@pytest.mark.parametrize(("channels", "squeezed"), [(64, 32), (128, 64), (256, 128), (512, 256)])
def test_selective_kernels_squeeze_as_published(channels: int, squeezed: int) -> None:
    assert squeezed_sk(channels, TINY) == squeezed


def test_attention_squeezes_by_the_configured_ratio() -> None:
    assert [squeezed_se(256, tiny(se_ratio=ratio)) for ratio in (4, 16)] == [64, 16]
    assert [squeezed_sk(1024, tiny(sk_ratio=ratio)) for ratio in (4, 16)] == [256, 64]


def test_selective_kernels_replace_the_3x3_that_a_relu_follows() -> None:
    for block, places in (("bottleneck", ["select2"]), ("basic", ["select1"])):
        branch = build(tiny(block=block, attention="sk")).stage1[0].branch
        assert [name for name, _ in branch.named_children() if "select" in name] == places


def test_squeeze_and_excitation_ends_the_branch_and_keeps_8_channels() -> None:
    branch = build(tiny(attention="se")).stage1[0].branch
    assert isinstance(branch[-1], SqueezeExcitation)
    assert branch[-1].fc1.out_channels == 8  # 32/16 would be 2


def test_the_filter_is_binomial_and_adds_up_to_one() -> None:
    three = torch.tensor([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16
    assert torch.equal(BlurPool(3).kernel, three)
    assert BlurPool(5).kernel[2].tolist() == [6 * n / 256 for n in (1, 4, 6, 4, 1)]


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("side", [3, 4, 7])
def test_the_blur_mirrors_its_input_at_the_border(size: int, side: int) -> None:
    maps = some_maps(2, 4, side, side)
    padded = nn.functional.pad(maps, [size // 2] * 4, mode="reflect")
    blur = BlurPool(size)
    kernel = blur.kernel.expand(4, 1, size, size)
    expected = nn.functional.conv2d(padded, kernel, stride=2, groups=4)
    assert torch.equal(blur(maps), expected)
    assert blur.state_dict() == {}


@pytest.mark.parametrize(
    ("change", "places"),
    [
        ({}, ["stage2.0.branch.blur2", "stage3.0.branch.blur2"]),
        ({"stride_at": "first-1x1"}, ["stage2.0.branch.blur1", "stage3.0.branch.blur1"]),
        ({"blur": "conv"}, ["stage2.0.branch.blur2", "stage3.0.branch.blur2"]),
        (
            {"blur": "conv+pool"},
            ["stem.blur", "stage2.0.branch.blur2", "stage3.0.branch.blur2"],
        ),
        (
            {"big_little": BigLittle()},
            [
                *["stage1.big.0.branch.blur2", "stage1.merge.branch.blur2"],
                *["stage2.big.0.branch.blur2", "stage3.0.branch.blur2"],
            ],
        ),
    ],
)
def test_the_blur_is_wherever_a_convolution_would_stride(
    change: dict[str, Any], places: list[str]
) -> None:
    stem = "small" if "blur" not in change else "imagenet"
    network = build(tiny(**{"blur": "conv", "stem": stem, **change}))
    blurs = [name for name, module in network.named_modules() if isinstance(module, BlurPool)]
    assert blurs == places
    assert all(
        module.stride == (1, 1)
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and re.search(r"branch\.conv", name)
    )


def test_the_drop_rate_rises_to_the_configured_one() -> None:
    network = build(tiny(stochastic_depth=0.3))
    rates = [module.p for module in network.modules() if isinstance(module, StochasticDepth)]
    assert rates == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25, 0.3])


def test_the_drop_rate_rises_through_the_branches_of_big_little_too() -> None:
    """Blocks of the big branch, the little one and the merging one, stage by stage."""
    config = tiny(big_little=BigLittle(), repeats=(3, 2, 2), stochastic_depth=0.45)
    rates = [module.p for module in build(config).modules() if isinstance(module, StochasticDepth)]
    assert rates == pytest.approx([0.05 * place for place in range(1, 10)])


@torch.no_grad()
def test_stochastic_depth_leaves_out_whole_branches_of_single_images() -> None:
    block = build(tiny(stochastic_depth=0.5)).stage3[1].train()
    block.branch.eval()  # the branch itself shall not depend on the rest of the batch
    maps = some_maps(64, 96, 4, 4).abs()
    torch.manual_seed(0)
    found = block(maps)
    dropped = (found == maps).flatten(1).all(dim=1)
    assert 16 < dropped.sum() < 48
    expected = relu(maps + block.branch(maps) / 0.5)
    torch.testing.assert_close(found[~dropped], expected[~dropped])
    assert torch.equal(block.eval()(maps), relu(maps + block.branch(maps)))


@torch.no_grad()
def test_dropout_sets_pooled_features_to_zero_in_training_alone() -> None:
    network, seen = build(tiny(dropout=0.75)), list[Tensor]()
    network.classifier.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    torch.manual_seed(0)
    for mode in (True, False):
        network.train(mode)(some_maps(64, 3, 16, 16))
    shares = [(features == 0).float().mean().item() for features in seen]
    assert shares == pytest.approx([0.75, 0.0], abs=0.03)


def test_dropout_and_batch_norm_follow_the_configuration() -> None:
    network = build(tiny(dropout=0.4, norm_eps=1e-4, norm_momentum=0.03, attention="sk"))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-4, 0.03)}
    assert network.dropout.p == 0.4


def test_convolutions_start_with_the_configured_variance() -> None:
    he, xavier = (build(tiny(channels=(64, 64, 64), init=init)) for init in ("he", "xavier"))
    assert he.stage1[1].branch.conv2.weight.std().item() == pytest.approx(
        math.sqrt(2 / (9 * 64)), rel=0.05
    )
    bound = math.sqrt(6 / (9 * 64 + 9 * 64))
    assert xavier.stage1[1].branch.conv2.weight.abs().max().item() == pytest.approx(bound, rel=0.01)
    for network in (he, xavier):
        assert network.classifier.bias.eq(0).all()


def test_the_same_seed_builds_the_same_weights() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(0)
        states.append(build(tiny(attention="sk", blur="conv")).state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
