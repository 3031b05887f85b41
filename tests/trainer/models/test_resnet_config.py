import json
import re
import subprocess
import sys
from typing import Any

import pytest

from trainer.config import ResNetConfig, TrainConfig
from trainer.errors import ConfigError
from trainer.models.resnet_layout import BigLittleStage, stages_of, units_of
from trainer.models.resnets import RESNETS, named_resnet
from trainer.portable.recipe import model_from_json
from trainer.resnet_config import BigLittle, DropBlock

TINY = ResNetConfig(
    block="basic",
    repeats=(2, 2, 2),
    channels=(8, 16, 24),
    stem="small",
    stem_channels=8,
    num_classes=4,
    resolution=16,
)


@pytest.mark.parametrize("name", RESNETS)
def test_a_configuration_survives_json(name: str) -> None:
    config = named_resnet(name)
    assert model_from_json(json.loads(json.dumps(config.to_json()))) == config


def test_resnets_are_known_without_loading_torch() -> None:
    program = (
        "import sys, trainer.models.resnets, trainer.complexity; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_resnet_can_be_trained() -> None:
    assert TrainConfig(model=TINY).model.family == "resnet"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"repeats": ()}, "model.repeats: at least one stage"),
        ({"channels": (8, 16)}, "model.channels: one number for each of the 3 stages, got (8, 16)"),
        ({"repeats": (1, 0, 1)}, "model.repeats must be positive, got (1, 0, 1)"),
        ({"stem_channels": 0}, "model.stem_channels must be at least 1, got 0"),
        ({"stem_channels": 7, "deep_stem": True}, "model.stem_channels must be even"),
        ({"se_ratio": 0}, "model.se_ratio must be at least 1, got 0"),
        ({"num_classes": 1}, "model.num_classes must be at least 2, got 1"),
        ({"dropout": 1.0}, "model.dropout must be in [0, 1), got 1.0"),
        ({"stochastic_depth": -0.1}, "model.stochastic_depth must be in [0, 1), got -0.1"),
        ({"resolution": 3}, "model.resolution: 3 px is below the network's total stride 4"),
        ({"stride_at": "first-1x1"}, "model.stride_at: a basic block has no 1x1 convolution"),
        ({"blur": "conv", "blur_size": 4}, "model.blur_size must be 3 or 5, got 4"),
        ({"blur": "conv+pool"}, "model.blur: the stem has no max pool, got conv+pool; choose"),
        (
            {"blur": "conv+pool+projection", "stem": "imagenet", "shortcut": "pooled"},
            "model.blur: pooled shortcuts need none, got conv+pool+projection; choose",
        ),
        (
            {"blur": "conv", "blur_size": 5, "resolution": 4},
            "model.blur_size: a map of 2 px is too small to be padded for 5",
        ),
        ({"drop_block": DropBlock()}, "model.drop_block.stages: the network has stages 1 to 3"),
        (
            {"big_little": BigLittle(), "resolution": 18},
            "model.resolution must be a multiple of 4 under Big-Little, whose branches would else "
            "not match, got 18; try 16 or 20",
        ),
        (
            {"big_little": BigLittle(), "repeats": (1, 2, 2)},
            "model.big_little: two stages are needed, and two blocks in each but the last",
        ),
        (
            {"big_little": BigLittle(alpha=3)},
            "model.big_little.alpha: 8 channels are no multiple of 3",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_where_it_is_made(
    change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        TINY.with_(**change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"keep_prob": 0.0}, "model.drop_block.keep_prob must be in (0, 1], got 0.0"),
        ({"block_size": 4}, "model.drop_block.block_size must be odd and positive, got 4"),
        ({"stages": (4, 3)}, "model.drop_block.stages must be rising and not empty, got (4, 3)"),
        ({"scales": (1.0,)}, "model.drop_block.scales: one for each of the 2 stages, got (1.0,)"),
        ({"scales": (0.0, 1.0)}, "model.drop_block.scales must be in (0, 1], got (0.0, 1.0)"),
    ],
)
def test_a_drop_block_that_means_nothing_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        DropBlock().with_(**change)


def test_a_big_little_factor_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.big_little\.beta must be at least 1, got 0"):
        BigLittle(beta=0)


def test_an_imagenet_big_little_network_wants_multiples_of_32() -> None:
    with pytest.raises(ConfigError, match=r"multiple of 32 .* got 300; try 288 or 320"):
        named_resnet("assemble-resnet-50", resolution=300)


@pytest.mark.parametrize(
    ("name", "repeats"), [("assemble-resnet-50", (1, 1, 1)), ("assemble-resnet-152", (1, 5, 14))]
)
def test_the_little_branches_have_the_published_blocks(name: str, repeats: tuple[int, ...]) -> None:
    stages = [stage for stage in stages_of(named_resnet(name)) if isinstance(stage, BigLittleStage)]
    assert tuple(len(stage.little) for stage in stages) == repeats
    assert tuple(stage.merge.stride for stage in stages) == (2, 2, 1)
    assert [block.activates for block in stages[1].big] == [True] * (len(stages[1].big) - 1) + [
        False
    ]


def test_two_branches_are_by_default_those_of_the_assembled_network_of_50_layers() -> None:
    assert BigLittle() == BigLittle(alpha=2, beta=4)
    assert named_resnet("assemble-resnet-50").big_little == BigLittle()


def test_a_relu_ends_every_block_but_the_last_of_a_big_branch() -> None:
    for stage in stages_of(named_resnet("assemble-resnet-152")):
        last = stage.big[-1] if isinstance(stage, BigLittleStage) else None
        assert [block for block in stage if not block.activates] == ([last] if last else [])


@pytest.mark.parametrize("name", ["assemble-resnet-50", "assemble-resnet-152"])
def test_the_assembled_networks_drop_squares_as_published(name: str) -> None:
    assert named_resnet(name).drop_block == DropBlock(
        keep_prob=0.9,
        block_size=7,
        stages=(3, 4),
        scales=(0.25, 1.0),
        per_channel=True,
        per_image=False,
    )


@pytest.mark.parametrize(("stride_at", "strides"), [("first-1x1", [2, 1, 1]), ("3x3", [1, 2, 1])])
def test_the_stride_is_where_it_is_configured(stride_at: str, strides: list[int]) -> None:
    config = named_resnet("resnet-50").with_(stride_at=stride_at)
    first, second = tuple(stages_of(config)[1])[:2]
    assert [unit.stride for unit in units_of(first, config)] == strides
    assert [unit.stride for unit in units_of(second, config)] == [1, 1, 1]


def test_a_width_reaches_stem_and_stages() -> None:
    half = named_resnet("resnet-50-small", num_classes=10, width="0.5")
    assert (half.stem_channels, half.channels) == (32, (32, 64, 128, 256))
    assert (half.num_classes, half.resolution) == (10, 32)


def test_an_unknown_name_is_refused_with_the_near_one() -> None:
    with pytest.raises(
        ConfigError, match=r"resnet: unknown value 'resnet-5'.*Did you mean 'resnet"
    ):
        named_resnet("resnet-5")
    with pytest.raises(ConfigError, match=r"resnet\.width must be positive, got 0"):
        named_resnet("resnet-50", width=0)
