import pytest
import torch
from torchvision.models import get_model

from search_spaces.published import PUBLISHED, published
from tests.trainer.factories import tiny_model, tiny_wide_resnet
from tests.trainer.portable.factories import a_model, a_recipe, see_noise
from trainer.config import EfficientNetConfig
from trainer.errors import CheckpointError, ConfigError
from trainer.fixres.parametric import AffineMap, with_pooled_map
from trainer.models.baselines import baseline
from trainer.models.build import build
from trainer.portable.files import PortableModel
from trainer.portable.torchvision_weights import (
    SIZES,
    from_torchvision,
    to_torchvision,
    torchvision_config,
)

OURS = {f"efficientnet_b{size}": published(f"B{size}", num_classes=7) for size in range(8)}
OURS["efficientnet_v2_s"] = baseline("efficientnet-v2-s", num_classes=7)


@pytest.mark.parametrize("name", SIZES)
def test_names_and_shapes_are_torchvisions(name: str) -> None:
    with torch.device("meta"):
        ours, theirs = build(OURS[name]), get_model(name, num_classes=7)
    assert [(key, tensor.shape) for key, tensor in ours.state_dict().items()] == [
        (key, tensor.shape) for key, tensor in theirs.state_dict().items()
    ]


@pytest.mark.parametrize("name", SIZES)
def test_torchvisions_networks_are_the_published_ones(name: str) -> None:
    theirs, ours = torchvision_config(name, num_classes=7), OURS[name]
    of_torchvision = ("norm_eps", "norm_momentum", "init", "stochastic_depth")
    assert theirs == ours.with_(
        resolution=224, dropout=theirs.dropout, **{k: getattr(theirs, k) for k in of_torchvision}
    )
    assert PUBLISHED["B4"].dropout == torchvision_config("efficientnet_b4").dropout


def test_torchvisions_weights_answer_the_same_in_our_network() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = get_model("efficientnet_b0", num_classes=5).eval()
        see_noise(theirs, resolution=64)
    ours = from_torchvision("efficientnet_b0", theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(ours(images), theirs(images))


def b0(**changes: object) -> PortableModel:
    config = published("B0", num_classes=5).with_(resolution=64, **changes)
    return a_model(config)


@torch.inference_mode()
def farthest(model: PortableModel) -> float:
    """Between our logits and those of torchvision's network, as a part of the largest."""
    found = to_torchvision(model)
    theirs = get_model(found.name, num_classes=5)
    theirs.load_state_dict(dict(found.state), strict=True)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    ours = model.network()(images)
    return ((ours - theirs.eval()(images)).abs().max() / ours.abs().max()).item()


def test_there_and_back_is_the_same_model() -> None:
    model = b0(norm_eps=1e-5)
    found = to_torchvision(model)
    assert (found.name, found.note) == ("efficientnet_b0", "")
    assert farthest(model) == 0
    back = from_torchvision(found.name, found.state).state_dict()
    assert back.keys() == model.weights.keys()
    assert all(torch.equal(back[name], model.weights[name]) for name in back)


def test_another_batch_norm_constant_goes_into_the_variances() -> None:
    model = b0(norm_eps=1e-3)
    assert farthest(model) < 1e-4
    assert "1e-05" in to_torchvision(model).note


def test_a_map_behind_the_pool_goes_into_the_classifier() -> None:
    network = b0(norm_eps=1e-5).network()
    with_pooled_map(network).set(AffineMap(scale=1.5, shift=-0.25))
    recipe = a_recipe(b0(norm_eps=1e-5).recipe.model, pooled_map=True)
    model = PortableModel(recipe=recipe, weights=network.state_dict())
    assert farthest(model) < 1e-4
    assert "classifier" in to_torchvision(model).note


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (OURS["efficientnet_b1"].with_(stem_stride=1), "efficientnet_b1.* stem_stride is 1 inst"),
        (tiny_model(), "B1 is none of torchvision's networks"),
        (tiny_wide_resnet(), "B1 is a wide-resnet; torchvision has efficientnet_b0"),
    ],
)
def test_what_torchvision_does_not_have_is_refused(
    config: EfficientNetConfig, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        to_torchvision(PortableModel(recipe=a_recipe(config), weights={}))
    assert "\n" not in str(caught.value)


def test_weights_of_another_size_are_refused() -> None:
    with torch.device("meta"):
        state = get_model("efficientnet_b1", num_classes=5).state_dict()
    with pytest.raises(CheckpointError, match="efficientnet_b0: the weights do not fit"):
        from_torchvision("efficientnet_b0", state)
    with pytest.raises(CheckpointError, match=r"no 'classifier\.1\.bias'"):
        from_torchvision("efficientnet_b0", {})
    with pytest.raises(ConfigError, match="Did you mean 'efficientnet_b0'"):
        from_torchvision("eficientnet_b0", state)
