import numpy as np
import pytest
import torch
from torch import nn

from tests.trainer.fixres.factories import FAMILIES, changed, snapshot
from trainer.fixres.parametric import (
    SHAPE,
    AffineMap,
    Frechet,
    equalising_map,
    fit_frechet,
    with_pooled_map,
)
from trainer.models.build import build


def _distribution(values: np.ndarray, fitted: Frechet) -> np.ndarray:
    base = 1 + SHAPE * (values - fitted.location) / fitted.scale
    return np.exp(-(np.maximum(base, 1e-300) ** (-1 / SHAPE)))


def test_the_moments_are_the_known_ones() -> None:
    fitted = Frechet(location=2.0, scale=1.0)
    assert fitted.mean - 2 == pytest.approx(0.99352, abs=5e-6)
    assert fitted.deviation == pytest.approx(2.4340, abs=5e-5)


def test_the_moments_are_those_of_the_distribution() -> None:
    fitted = Frechet(location=0.5, scale=0.2)
    uniform = (np.arange(4_000_000) + 0.5) / 4_000_000
    values = fitted.location + fitted.scale * ((-np.log(uniform)) ** -SHAPE - 1) / SHAPE
    assert _distribution(values[:3], fitted) == pytest.approx(uniform[:3])
    assert values.mean() == pytest.approx(fitted.mean, rel=1e-3)
    assert values.std() == pytest.approx(fitted.deviation, rel=2e-2)  # a heavy tail


def test_a_fit_has_the_moments_that_it_was_given() -> None:
    fitted = fit_frechet(mean=0.4, deviation=0.3)
    assert (fitted.mean, fitted.deviation) == (pytest.approx(0.4), pytest.approx(0.3))


def test_the_map_makes_one_distribution_of_the_other() -> None:
    reference, new = Frechet(location=0.3, scale=0.2), Frechet(location=-0.1, scale=0.5)
    mapping = equalising_map(reference, new)
    values = np.linspace(0, 5, 50)
    mapped = mapping.scale * values + mapping.shift
    assert _distribution(mapped, reference) == pytest.approx(_distribution(values, new))
    assert mapping.scale * new.mean + mapping.shift == pytest.approx(reference.mean)
    assert mapping.scale * new.deviation == pytest.approx(reference.deviation)


def test_nothing_to_equalise_is_the_identity() -> None:
    same = Frechet(location=0.3, scale=0.2)
    assert equalising_map(same, same) == AffineMap(scale=1.0, shift=0.0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_map_that_was_not_set_changes_no_bit(family: str) -> None:
    network = build(FAMILIES[family]).eval()
    images, before = torch.randn(2, 3, 24, 24), snapshot(network)
    logits = network(images)
    added = with_pooled_map(network)
    assert torch.equal(network(images), logits)
    assert len(changed(before, network.state_dict())) == 2
    assert with_pooled_map(network) is added


@pytest.mark.parametrize("family", FAMILIES)
def test_the_mapped_network_is_a_plain_module_whose_state_loads(family: str) -> None:
    first, second = (build(FAMILIES[family]).eval() for _ in range(2))
    with_pooled_map(first).set(AffineMap(scale=1.5, shift=-0.25))
    with_pooled_map(second)
    second.load_state_dict(first.state_dict(), strict=True)
    images = torch.randn(2, 3, 24, 24)
    assert isinstance(second, nn.Module)
    assert torch.equal(first(images), second(images))


def test_the_map_comes_after_the_pool_and_before_the_classifier() -> None:
    network = build(FAMILIES["wide-resnet"]).eval()
    images = torch.randn(2, 3, 24, 24)
    bias, weight = network.classifier.bias, network.classifier.weight
    plain = network(images) - bias
    with_pooled_map(network).set(AffineMap(scale=2.0, shift=3.0))
    expected = 2 * plain + 3 * weight.sum(dim=1) + bias
    assert torch.allclose(network(images), expected, atol=1e-4)
