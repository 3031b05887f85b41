import warnings

import pytest
import torch
from torch import Tensor, nn

from trainer.errors import ConfigError
from trainer.models.build import build
from trainer.models.resnet_layout import smallest_side
from trainer.models.resnet_parts.block import ResidualBlock
from trainer.models.resnet_parts.drop_block import (
    DropBlock,
    fitting_block,
    seed_probability,
    set_drop_progress,
)
from trainer.models.resnets import named_resnet
from trainer.resnet_config import DropBlock as DropBlockConfig

CONFIG = DropBlockConfig()


def kept_of(config: DropBlockConfig, *shape: int, scale: float = 1.0, seed: int = 0) -> Tensor:
    """Where a training pass over ones leaves something."""
    torch.manual_seed(seed)
    return DropBlock(config, scale=scale).train()(torch.ones(shape)) > 0


@pytest.mark.parametrize(("side", "block", "gamma"), [(14, 7, 0.00625), (7, 7, 0.1)])
def test_seeds_have_the_published_probability(side: int, block: int, gamma: float) -> None:
    found = seed_probability(0.1, block=block, height=side, width=side)
    assert found == pytest.approx(gamma)


@pytest.mark.parametrize(
    ("wanted", "side", "fits"), [(7, 14, 7), (7, 7, 7), (7, 6, 5), (7, 4, 3), (7, 2, 1), (7, 1, 1)]
)
def test_a_block_is_clipped_to_the_largest_odd_one_that_fits(
    wanted: int, side: int, fits: int
) -> None:
    assert fitting_block(wanted, side) == fits


@pytest.mark.parametrize(("side", "low"), [(7, 0.895), (14, 0.895), (4, 0.89), (1, 0.895)])
def test_about_the_configured_share_is_kept(side: int, low: float) -> None:
    kept = kept_of(CONFIG.with_(per_image=True), 100, 200, side, side).float().mean().item()
    assert low < kept < 0.92  # squares that overlap drop less


@pytest.mark.parametrize(("height", "width"), [(5, 9), (9, 5)])
def test_of_an_oblong_map_the_shorter_side_bounds_the_squares(height: int, width: int) -> None:
    kept = kept_of(CONFIG, 1, 20_000, height, width)
    assert 0.895 < kept.float().mean().item() < 0.92
    assert (~kept).sum(dim=(2, 3)).unique()[:2].tolist() == [0, 25]  # 5 px, not 7


def test_a_stage_may_drop_less() -> None:
    kept = kept_of(CONFIG, 1, 20_000, 7, 7, scale=0.25).float().mean().item()
    assert kept == pytest.approx(0.975, abs=0.005)


def test_what_is_dropped_is_squares() -> None:
    config = CONFIG.with_(block_size=3, keep_prob=0.98)
    for channel in ~kept_of(config, 1, 200, 9, 9)[0]:
        if channel.sum() == 9:
            rows, columns = channel.nonzero().unbind(1)
            assert (rows.max() - rows.min(), columns.max() - columns.min()) == (2, 2)
        assert channel.sum() == 0 or channel.sum() >= 9


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("per_image", [True, False])
def test_a_mask_is_shared_as_configured(per_channel: bool, per_image: bool) -> None:
    config = CONFIG.with_(keep_prob=0.5, block_size=3, per_channel=per_channel, per_image=per_image)
    kept = kept_of(config, 8, 8, 10, 10)
    assert bool((kept == kept[:1]).all()) is not per_image
    assert bool((kept == kept[:, :1]).all()) is not per_channel


def test_what_is_kept_is_scaled_so_that_the_sum_stays() -> None:
    torch.manual_seed(0)
    maps = DropBlock(CONFIG, scale=1.0).train()(torch.ones(4, 64, 14, 14))
    assert maps.mean().item() == pytest.approx(1.0, abs=1e-5)


def test_all_that_is_kept_of_a_batch_is_scaled_by_the_same_number() -> None:
    torch.manual_seed(0)
    maps = DropBlock(CONFIG.with_(per_image=True), scale=1.0).train()(torch.ones(4, 64, 14, 14))
    kept = (maps > 0).float().mean().item()
    assert maps.unique().tolist() == pytest.approx([0.0, 1 / kept])


def test_a_map_that_is_dropped_altogether_gives_zeros_and_no_nan() -> None:
    config = CONFIG.with_(keep_prob=0.01, per_channel=False)
    torch.manual_seed(0)
    maps = DropBlock(config, scale=1.0).train()(torch.ones(2, 3, 7, 7))
    assert maps.eq(0).all()


def test_nothing_is_dropped_in_evaluation_or_before_the_schedule_begins() -> None:
    # so many channels that some would be dropped
    maps, module = torch.rand(2, 500, 7, 7), DropBlock(CONFIG, scale=1.0)
    assert torch.equal(module.eval()(maps), maps)
    set_drop_progress(module, 0.0)
    assert torch.equal(module.train()(maps), maps)


def test_the_schedule_drops_in_proportion_to_its_progress() -> None:
    shares = []
    for progress in (0.5, 1.0):
        module = DropBlock(CONFIG.with_(keep_prob=0.2), scale=1.0).train()
        set_drop_progress(nn.Sequential(module), progress)
        torch.manual_seed(0)
        shares.append((module(torch.ones(1, 20_000, 7, 7)) == 0).float().mean().item())
    assert shares == pytest.approx([0.4, 0.8], abs=0.01)
    with pytest.raises(ConfigError, match=r"drop progress must be in \[0, 1\], got 1.5"):
        set_drop_progress(module, 1.5)


def test_every_block_of_a_network_is_told_its_progress_and_no_other_network_is() -> None:
    config = named_resnet("resnet-18-small", width="0.125")
    config = config.with_(drop_block=CONFIG.with_(block_size=3))
    network, other = build(config), build(config)
    set_drop_progress(network, 0.25)
    for each, progress in ((network, 0.25), (other, 1.0)):
        drops = [module for module in each.modules() if isinstance(module, DropBlock)]
        assert len(drops) > 1
        assert {drop.progress for drop in drops} == {progress}


def test_half_precision_neither_overflows_nor_changes_the_type() -> None:
    maps = DropBlock(CONFIG, scale=1.0).train()(torch.ones(64, 64, 14, 14, dtype=torch.bfloat16))
    assert maps.dtype == torch.bfloat16
    assert maps.isfinite().all()


def test_every_norm_of_the_named_stages_is_followed_by_a_drop_and_no_other() -> None:
    network = build(
        named_resnet("resnet-50-small", width="0.125").with_(drop_block=CONFIG.with_(block_size=3))
    )
    for number, scale in ((1, None), (2, None), (3, 0.25), (4, 1.0)):
        stage = network.get_submodule(f"stage{number}")
        drops = [module for module in stage.modules() if isinstance(module, DropBlock)]
        norms = [module for module in stage.modules() if isinstance(module, nn.BatchNorm2d)]
        assert len(drops) == (0 if scale is None else len(norms))
        assert {drop.scale for drop in drops} <= {scale}
        for part in stage.modules():
            if isinstance(part, nn.Sequential) and drops and not isinstance(part[0], nn.Sequential):
                kinds = [type(module) for module in part]
                after = [kinds[i + 1] for i, kind in enumerate(kinds) if kind is nn.BatchNorm2d]
                assert set(after) <= {DropBlock}


def test_both_branches_of_a_big_little_stage_drop_and_the_block_that_merges_them() -> None:
    network = build(named_resnet("assemble-resnet-50-small", width="0.125"))
    for number, scale in ((1, None), (2, None), (3, 0.25), (4, 1.0)):
        for block in network.get_submodule(f"stage{number}").modules():
            if isinstance(block, ResidualBlock):
                places = 3 if block.shortcut is None else 4
                drops = [module for module in block.modules() if isinstance(module, DropBlock)]
                assert [drop.scale for drop in drops] == ([] if scale is None else [scale] * places)


@pytest.mark.parametrize(
    ("attention", "expected"),
    [
        ("se", "conv1 norm1 drop1 relu1 conv2 norm2 drop2 relu2 conv3 norm3 drop3 attention"),
        ("sk", "conv1 norm1 drop1 relu1 select2 drop2 conv3 norm3 drop3"),
    ],
)
def test_squares_are_dropped_beside_attention_too(attention: str, expected: str) -> None:
    config = named_resnet("resnet-50-small", width="0.125")
    config = config.with_(attention=attention, drop_block=CONFIG.with_(block_size=3))
    branch = build(config).stage4[1].branch
    assert [name for name, _ in branch.named_children()] == expected.split()


def test_a_block_that_does_not_fit_is_warned_of() -> None:
    config = named_resnet("resnet-18-small", width="0.125").with_(drop_block=CONFIG)
    with pytest.warns(UserWarning, match="block_size: squares of 7 px do not fit the 4 px") as said:
        build(config)
    assert len(said) == 1
    assert "maps of stage 4; they are 3 px there" in str(said[0].message)


def test_every_stage_that_a_block_does_not_fit_is_warned_of() -> None:
    config = named_resnet("resnet-18-small", width="0.125", resolution=16).with_(drop_block=CONFIG)
    with pytest.warns(UserWarning, match="block_size") as said:
        build(config)
    sides = [str(warning.message).split("do not fit the ")[1] for warning in said]
    assert sides == [
        "4 px maps of stage 3; they are 3 px there",
        "2 px maps of stage 4; they are 1 px there",
    ]


@pytest.mark.parametrize(
    ("name", "resolution"),
    [
        ("resnet-18", 75),
        ("resnet-18-small", 35),
        ("assemble-resnet-50", 64),
        ("assemble-resnet-50-small", 32),
    ],
)
@torch.no_grad()
def test_the_side_that_squares_have_to_fit_is_that_of_a_stages_smallest_map(
    name: str, resolution: int
) -> None:
    config = named_resnet(name, width="0.125", resolution=resolution).with_(drop_block=None)
    network, maps = build(config).eval(), torch.zeros(1, 3, resolution, resolution)
    sides: list[int] = []
    for module in network.modules():
        if isinstance(module, ResidualBlock):
            module.register_forward_hook(lambda _block, _inputs, maps: sides.append(maps.shape[-1]))
    maps = network.stem(maps)
    for number in range(1, 5):
        sides.clear()
        maps = network.get_submodule(f"stage{number}")(maps)
        assert smallest_side(config, number) == min(sides)


@pytest.mark.parametrize("name", ["assemble-resnet-50", "assemble-resnet-50-small"])
def test_the_named_networks_need_no_warning(name: str) -> None:
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("error")
        build(named_resnet(name))
