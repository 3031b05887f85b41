import pytest
import torch
from torch import nn

from trainer.ema import MovingAverage, warmed_up_decay


def test_the_decay_warms_up_as_in_tensorflow() -> None:
    found = [warmed_up_decay(0.9, updates) for updates in (0, 1, 2, 10, 79, 80, 1000)]
    assert found == pytest.approx([0.1, 2 / 11, 3 / 12, 11 / 20, 80 / 89, 0.9, 0.9])


def test_the_average_follows_the_recurrence_from_the_initial_weights() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    average = MovingAverage(model, decay=0.9)
    expected, found = [], []
    value = 1.0
    for updates, weight in enumerate([2.0, 4.0, 8.0], start=1):
        nn.init.constant_(model.weight, weight)
        average.update_parameters(model)
        decay = (1 + updates) / (10 + updates)
        value = decay * value + (1 - decay) * weight
        expected.append(value)
        found.append(average.module.weight.item())
    assert found == pytest.approx(expected)


def test_batch_norm_statistics_are_averaged_and_their_counter_is_copied() -> None:
    model = nn.BatchNorm1d(1, momentum=1.0)
    average = MovingAverage(model, decay=0.9)
    model(torch.tensor([[3.0], [5.0]]))  # with momentum 1 the running mean becomes 4
    average.update_parameters(model)
    assert average.module.running_mean.item() == pytest.approx(4 * 9 / 11)
    assert average.module.num_batches_tracked.item() == 1


def test_averaged_weights_ask_for_no_gradient() -> None:
    average = MovingAverage(nn.Linear(2, 2), decay=0.5)
    assert not any(parameter.requires_grad for parameter in average.parameters())


def test_a_restored_average_goes_on_with_the_same_decay() -> None:
    model = nn.Linear(2, 2)
    average, other = MovingAverage(model, decay=0.99), MovingAverage(model, decay=0.99)
    for weight in (1.0, 2.0):
        nn.init.constant_(model.weight, weight)
        average.update_parameters(model)
    other.load_state_dict(average.state_dict())
    nn.init.constant_(model.weight, 3.0)
    for one in (average, other):
        one.update_parameters(model)
    assert torch.equal(average.module.weight, other.module.weight)
