import pytest
import torch
from torch import nn
from torchvision.models import efficientnet_b0, resnet18

from tests.trainer.fixres.factories import FAMILIES, adaptation
from trainer.errors import ConfigError
from trainer.fixres.anatomy import dissect, run, tuned_part
from trainer.fixres.parametric import with_pooled_map
from trainer.models.build import build


@pytest.mark.parametrize("family", FAMILIES)
def test_the_chain_is_the_network(family: str) -> None:
    network = build(FAMILIES[family]).eval()
    anatomy, images = dissect(network), torch.randn(2, 3, 24, 24)
    with torch.inference_mode():
        below = run(anatomy.links[: anatomy.cut], images)
        assert torch.equal(run(anatomy.links[anatomy.cut :], below), network(images))


@pytest.mark.parametrize(
    ("family", "norm", "pool", "classifier"),
    [
        ("efficientnet", "features.3.1", "avgpool", "classifier.1"),
        ("wide-resnet", "norm", "pool", "classifier"),
        ("resnet", "stage2.1.branch.norm3", "pool", "classifier"),
        ("resnet-of-one-block", "stage2.0.branch.norm2", "pool", "classifier"),
    ],
)
def test_the_parts_are_found(family: str, norm: str, pool: str, classifier: str) -> None:
    anatomy = dissect(build(FAMILIES[family]))
    assert anatomy.norm is not None
    found = [anatomy.links[place][0] for place in (anatomy.pool, anatomy.classifier)]
    assert [anatomy.norm.name, *found] == [norm, pool, classifier]


def test_torchvisions_own_network_is_understood() -> None:
    network = efficientnet_b0()
    anatomy = dissect(network)
    assert anatomy.norm is not None
    assert anatomy.norm.module is network.features[-1][1]
    assert anatomy.cache_cuts == (anatomy.cut, anatomy.cut - 1)  # 1280 channels, or 320


def test_features_of_a_wide_residual_network_are_kept_before_its_last_norm_alone() -> None:
    anatomy = dissect(build(FAMILIES["wide-resnet"]))
    assert anatomy.cache_cuts == (anatomy.cut,)


@pytest.mark.parametrize("network", [resnet18(), nn.Sequential(nn.Conv2d(3, 4, 1))])
def test_what_is_no_such_chain_is_refused_on_one_line(network: nn.Module) -> None:
    with pytest.raises(ConfigError, match="cannot be adapted") as caught:
        dissect(network)
    assert "\n" not in str(caught.value)


STATISTICS = {"norm.running_mean", "norm.running_var"}
CLASSIFIER = {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize(
    ("kind", "affine", "tensors"),
    [
        ("none", False, set()),
        ("parametric", False, {"pool.matching.scale", "pool.matching.shift"}),
        ("statistics", True, STATISTICS),
        ("finetune", False, STATISTICS | CLASSIFIER | {"norm.num_batches_tracked"}),
        (
            "finetune",
            True,
            STATISTICS | CLASSIFIER | {"norm.num_batches_tracked", "norm.weight", "norm.bias"},
        ),
    ],
)
def test_what_each_adaptation_changes(kind: str, affine: bool, tensors: set[str]) -> None:
    config = adaptation("wide-resnet", adaptation=kind, affine=affine)
    network = build(config.source.model)
    tuned = tuned_part(dissect(network), config)
    assert (set(tuned.tensors), tuned.note) == (tensors, "")
    with_pooled_map(network)  # the names are the same before and after
    assert set(tuned_part(dissect(network), config).tensors) == tensors
    assert tensors <= network.state_dict().keys()


@pytest.mark.parametrize(
    ("kind", "tensors", "note"),
    [
        ("statistics", set(), "no batch norm before the pool: nothing is re-estimated"),
        (
            "finetune",
            CLASSIFIER,
            "no batch norm before the pool: the classifier alone is fine-tuned",
        ),
    ],
)
def test_without_a_norm_before_the_pool_it_says_what_is_tuned(
    kind: str, tensors: set[str], note: str
) -> None:
    network = build(FAMILIES["wide-resnet"])
    network.set_submodule("norm", nn.Identity())
    tuned = tuned_part(dissect(network), adaptation("wide-resnet", adaptation=kind))
    assert (set(tuned.tensors), tuned.note) == (tensors, note)
