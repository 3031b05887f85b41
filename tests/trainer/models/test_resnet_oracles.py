"""Networks of other libraries that are ours under another name: same weights, same logits."""

from collections.abc import Callable

import pytest
import timm
import torch
from torch import nn
from torchvision import models

from trainer.config import ResNetConfig
from trainer.models.build import build
from trainer.models.resnets import named_resnet

D50 = named_resnet("resnet-50-d")
R50 = named_resnet("resnet-50")


def take_over(network: nn.Module, peer: nn.Module) -> None:
    """Give the network the peer's tensors, which come in the same order under other names."""
    ours, theirs = network.state_dict(), peer.state_dict()
    assert [value.shape for value in ours.values()] == [value.shape for value in theirs.values()]
    network.load_state_dict(dict(zip(ours, theirs.values(), strict=True)), strict=True)


def unsettle(peer: nn.Module) -> None:
    """Statistics and factors that differ, so that an exchanged norm is noticed."""
    generator = torch.Generator().manual_seed(0)
    for module in peer.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                values.data.uniform_(0.5, 1.5, generator=generator)
            for values in (module.bias, module.running_mean):
                values.data.normal_(0, 0.1, generator=generator)


@torch.no_grad()
def assert_equal_logits(ours: nn.Module, theirs: nn.Module, side: int) -> None:
    images = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    expected = theirs.eval()(images)
    assert expected.std() > 0
    assert torch.allclose(
        ours.eval()(images), expected, rtol=1e-4, atol=1e-5 * expected.abs().max()
    )


@pytest.mark.parametrize("side", [64, 75])
@pytest.mark.parametrize(
    ("name", "peer"), [("resnet-50", models.resnet50), ("resnet-18", models.resnet18)]
)
def test_a_plain_network_is_torchvisions(
    name: str, peer: Callable[[], nn.Module], side: int
) -> None:
    theirs, ours = peer(), build(named_resnet(name))
    unsettle(theirs)
    take_over(ours, theirs)
    assert_equal_logits(ours, theirs, side)


@pytest.mark.parametrize("side", [64, 75])
@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("resnet50d", D50),
        ("resnet34d", named_resnet("resnet-34-d")),
        ("seresnet50", R50.with_(attention="se")),
        ("resnetblur50", R50.with_(blur="conv+pool")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_tweaked_network_is_timms(name: str, config: ResNetConfig, side: int) -> None:
    theirs, ours = timm.create_model(name, pretrained=False), build(config)
    unsettle(theirs)
    take_over(ours, theirs)
    assert_equal_logits(ours, theirs, side)


def test_another_wiring_is_noticed() -> None:
    theirs, ours = models.resnet50(), build(R50.with_(stride_at="first-1x1"))
    unsettle(theirs)
    take_over(ours, theirs)
    with pytest.raises(AssertionError):
        assert_equal_logits(ours, theirs, 64)
