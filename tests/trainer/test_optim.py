import pytest
import torch
from torch import nn
from torch.optim import SGD

from tests.trainer.factories import tiny_model, tiny_resnet
from trainer.config import ModelConfig, OptimConfig
from trainer.models.build import build
from trainer.optim import RMSPropTF, build_optimizer, parameter_groups, peak_lr, scaled_lr


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(2, 4))
        self.classifier = nn.Linear(4, 2)
        self.again = self.classifier


def names_in(group: dict[str, object], model: nn.Module) -> set[str]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(parameter)] for parameter in group["params"]}


def test_norms_and_biases_are_spared_from_decay_and_shared_weights_counted_once() -> None:
    model = Tied()
    decayed, spared = parameter_groups(model, weight_decay=0.1)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert names_in(decayed, model) == {"features.0.weight", "classifier.weight"}
    assert len(decayed["params"]) + len(spared["params"]) == len(list(model.parameters()))


def test_everything_is_decayed_when_asked_for() -> None:
    decayed, spared = parameter_groups(Tied(), weight_decay=0.1, decay_norm_and_bias=True)
    assert len(decayed["params"]) == 8
    assert spared["params"] == []


def test_biases_can_be_decayed_without_batch_norm() -> None:
    model = Tied()
    decayed, spared = parameter_groups(model, weight_decay=0.1, decay_bias=True)
    assert names_in(spared, model) == {
        f"features.{place}.{name}" for place in (1, 2) for name in ("weight", "bias")
    }
    assert "features.0.bias" in names_in(decayed, model)
    optimizer = build_optimizer(Tied(), OptimConfig(decay_bias=True), batch_size=256)
    assert [len(group["params"]) for group in optimizer.param_groups] == [4, 4]


def test_frozen_parameters_are_not_optimised() -> None:
    model = Tied()
    model.classifier.requires_grad_(False)
    decayed, spared = parameter_groups(model, weight_decay=0.1)
    assert names_in(decayed, model) == {"features.0.weight"}
    assert "classifier.bias" not in names_in(spared, model)


def test_the_rate_is_linear_in_the_batch() -> None:
    assert scaled_lr(0.1, batch_size=1024) == pytest.approx(0.4)
    optimizer = build_optimizer(Tied(), OptimConfig(lr=0.1), batch_size=64)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.025, 0.025])


def test_a_rate_that_is_not_scaled_is_the_same_for_every_batch() -> None:
    for batch_size in (64, 256, 1024):
        config = OptimConfig(lr=0.1, fixed_lr=True)
        assert peak_lr(config, batch_size=batch_size) == 0.1
        optimizer = build_optimizer(Tied(), config, batch_size=batch_size)
        assert {group["lr"] for group in optimizer.param_groups} == {0.1}


@pytest.mark.parametrize("everything", [True, False])
def test_the_optimizer_decays_what_the_configuration_says(everything: bool) -> None:
    config = OptimConfig(weight_decay=0.1, decay_norm_and_bias=everything)
    decayed, spared = build_optimizer(Tied(), config, batch_size=256).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert (len(decayed["params"]), len(spared["params"])) == ((8, 0) if everything else (2, 6))


@pytest.mark.parametrize("config", [tiny_resnet(attention="se"), tiny_model()], ids=["se", "b"])
def test_of_a_network_the_kernels_and_the_classifiers_weight_are_decayed(
    config: ModelConfig,
) -> None:
    model = build(config)
    decayed, spared = parameter_groups(model, weight_decay=0.1)
    sizes = {name: parameter.dim() for name, parameter in model.named_parameters()}
    assert names_in(decayed, model) == {name for name, dims in sizes.items() if dims > 1}
    assert names_in(spared, model) == {name for name, dims in sizes.items() if dims == 1}


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_nesterovs_when_there_is_momentum(momentum: float) -> None:
    optimizer = build_optimizer(Tied(), OptimConfig(momentum=momentum), batch_size=256)
    assert isinstance(optimizer, SGD)
    assert optimizer.defaults["nesterov"] is (momentum > 0)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_sgd_steps_along_the_gradient_and_the_momentum_it_leads_to(momentum: float) -> None:
    """v ← μ·v + g and w ← w - lr·(g + μ·v) (Nesterov's momentum), for g = 1 twice."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    config = OptimConfig(lr=0.1, momentum=momentum, weight_decay=0.0)
    optimizer = build_optimizer(model, config, batch_size=256)
    found = []
    for _ in range(2):
        model.weight.grad = torch.ones(1, 1)
        optimizer.step()
        found.append(model.weight.item())
    first = -0.1 * (1 + momentum)
    second = first - 0.1 * (1 + momentum * (momentum + 1))
    assert found == pytest.approx([first, second])


def test_rmsprop_gives_the_numbers_of_tensorflows_recurrence() -> None:
    weight = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
    optimizer = RMSPropTF([weight], lr=0.1, decay=0.9, momentum=0.9, eps=1e-3)
    found = []
    for gradient in (0.5, -0.25, 1.0):
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        found.append(weight.item())
    # worked out with 30 decimal digits: s = 0.925, 0.83875, 0.854875
    assert found == pytest.approx([0.948040554109203, 0.928558349105804, 0.802932046768307])


def test_rmsprop_decays_weights_through_the_gradient_and_keeps_steps_under_way() -> None:
    weight = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))
    optimizer = RMSPropTF([weight], lr=0.1, decay=0.9, momentum=0.9, eps=1e-3, weight_decay=0.1)
    found = []
    for lr in (0.1, 0.01):
        optimizer.param_groups[0]["lr"] = lr
        weight.grad = torch.tensor([0.5], dtype=torch.float64)
        optimizer.step()
        found.append(weight.item())
    # the second step is almost as long as the first: the rate fell after the momentum was taken up
    assert found == pytest.approx([1.92818151535404, 1.85625447830934])


def test_rmsprop_passes_over_parameters_without_a_gradient() -> None:
    used, unused = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
    optimizer = RMSPropTF([used, unused], lr=0.1)
    used.grad = torch.ones(1)
    optimizer.step()
    assert used.item() < 1
    assert unused.item() == 1


def test_the_configured_rmsprop_gets_its_own_decay_and_eps() -> None:
    config = OptimConfig(optimizer="rmsprop", rmsprop_decay=0.8, rmsprop_eps=0.5, momentum=0.7)
    defaults = build_optimizer(Tied(), config, batch_size=256).defaults
    assert (defaults["decay"], defaults["eps"], defaults["momentum"]) == (0.8, 0.5, 0.7)
