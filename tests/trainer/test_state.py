from copy import deepcopy

import pytest
import torch
from torch import Tensor

from tests.trainer.factories import tiny_model, tiny_run
from trainer.config import ExecutionConfig, TrainConfig
from trainer.data.batches import Batch
from trainer.evaluate import predict
from trainer.state import TrainingState

CPU = torch.device("cpu")


def some_batch(size: int = 16) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(size, 3, 16, 16, generator=generator)
    return Batch(images=images, labels=torch.arange(size) % 10)


def step_with_frozen_norms(config: TrainConfig) -> tuple[float, dict[str, Tensor]]:
    state = TrainingState(config, device=CPU)
    state.model.eval()  # so that batch norm does not see how the batch is cut
    loss = state.step(some_batch(), lr=0.1)
    return loss.item(), state.evaluated_weights()


@pytest.mark.parametrize("parts", [2, 3, 16])
def test_accumulated_gradients_are_those_of_the_whole_batch(parts: int) -> None:
    config = tiny_run(accumulate=1, ema_decay=0.0)
    loss, weights = step_with_frozen_norms(config)
    cut_loss, cut_weights = step_with_frozen_norms(config.with_(accumulate=parts))
    assert cut_loss == pytest.approx(loss, rel=1e-5)
    initial = TrainingState(config, device=CPU).evaluated_weights()
    assert not torch.equal(weights["features.0.0.weight"], initial["features.0.0.weight"])
    for name, weight in weights.items():
        torch.testing.assert_close(cut_weights[name], weight, rtol=1e-4, atol=1e-6)


def test_the_same_seed_gives_the_same_initial_weights_and_another_others() -> None:
    first, again, other = (
        TrainingState(tiny_run(seed=seed), device=CPU).evaluated_weights()["features.0.0.weight"]
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("decay", "share"), [(0.9, 9 / 11), (0.1, 0.9)])  # 2/11 at most at first
def test_averaged_weights_are_what_is_evaluated(decay: float, share: float) -> None:
    state = TrainingState(tiny_run(ema_decay=decay), device=CPU)
    before = state.evaluated_weights()["classifier.1.weight"]
    state.step(some_batch(), lr=0.1)
    averaged = state.evaluated_weights()["classifier.1.weight"]
    raw = state.model.state_dict()["classifier.1.weight"]
    torch.testing.assert_close(averaged, before + (raw - before) * share)


def test_without_averaging_the_raw_weights_are_evaluated() -> None:
    state = TrainingState(tiny_run(ema_decay=0.0), device=CPU)
    assert state.evaluated is state.model


def test_the_layout_is_the_configured_one() -> None:
    for channels_last in (True, False):
        execution = ExecutionConfig(channels_last=channels_last)
        config = tiny_run(model=tiny_model(), execution=execution)
        weight = TrainingState(config, device=CPU).model.get_parameter("features.0.0.weight")
        assert weight.is_contiguous(memory_format=torch.channels_last) is channels_last


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_weights_stay_float32_in_any_precision(precision: str) -> None:
    config = tiny_run(execution=ExecutionConfig(precision=precision))
    state = TrainingState(config, device=CPU)
    loss = state.step(some_batch(), lr=0.1)
    assert torch.isfinite(loss)
    assert {parameter.dtype for parameter in state.model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_steps_and_predictions_compute_in_the_configured_format(
    precision: str, dtype: torch.dtype
) -> None:
    config = tiny_run(execution=ExecutionConfig(precision=precision))
    state, seen = TrainingState(config, device=CPU), list[torch.dtype]()
    stem = state.model.get_submodule("features.0.0")
    stem.register_forward_hook(lambda _module, _inputs, maps: seen.append(maps.dtype))
    state.step(some_batch(), lr=0.1)
    predict(state.model, some_batch().images, execution=config.execution)
    assert seen == [dtype] * 3  # two micro-batches and a prediction


def test_the_scale_of_the_loss_is_taken_back_from_the_gradients() -> None:
    moved = []
    for precision in ("fp32", "fp16"):
        config = tiny_run(execution=ExecutionConfig(precision=precision), ema_decay=0.0)
        state = TrainingState(config, device=CPU)
        before = state.evaluated_weights()["classifier.1.weight"]
        torch.manual_seed(0)  # for dropout and stochastic depth
        state.step(some_batch(), lr=0.1)
        moved.append(state.evaluated_weights()["classifier.1.weight"] - before)
    torch.testing.assert_close(moved[1], moved[0], rtol=0.05, atol=1e-3)
    assert moved[0].abs().max() > 0.01


def test_a_restored_state_takes_the_same_step() -> None:
    state, other = (TrainingState(tiny_run(seed=seed), device=CPU) for seed in (1, 2))
    state.step(some_batch(), lr=0.1)
    other.load_state_dict(deepcopy(state.state_dict()))
    for one in (state, other):
        torch.manual_seed(0)  # for dropout and stochastic depth
        one.step(some_batch(), lr=0.1)
    expected, found = state.evaluated_weights(), other.evaluated_weights()
    assert all(torch.equal(found[name], weight) for name, weight in expected.items())
