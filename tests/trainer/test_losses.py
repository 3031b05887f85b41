import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from tests.trainer.factories import tiny_model, tiny_run
from trainer.config import DistillationConfig
from trainer.data.batches import Batch
from trainer.errors import TrainingDiverged
from trainer.losses import EpochLosses, build_loss, imitation, smoothed_cross_entropy

CPU = torch.device("cpu")


def labelled(labels: Tensor) -> Batch:
    return Batch(images=torch.zeros(len(labels), 3, 8, 8), labels=labels)


@pytest.mark.parametrize("seen", range(10))
def test_smoothing_gives_the_class_0_91_and_the_others_0_01_of_10(seen: int) -> None:
    # cross-entropy with logits log p is -Σ q·log p: a tiny p in one place reads off that place's q
    logits = torch.zeros(1, 10, dtype=torch.float64)
    logits[0, seen] = -50.0
    loss = smoothed_cross_entropy(logits, labelled(torch.tensor([3])), smoothing=0.1)
    weight = (loss.item() - math.log(9)) / 50
    assert weight == pytest.approx(0.91 if seen == 3 else 0.01, abs=1e-6)


def test_probabilities_are_smoothed_as_classes_are() -> None:
    logits, labels = torch.randn(4, 10), torch.tensor([0, 3, 3, 9])
    soft = labelled(one_hot(labels, 10).float())
    losses = [smoothed_cross_entropy(logits, b, smoothing=0.1) for b in (labelled(labels), soft)]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-6)


def test_the_configured_smoothing_is_used() -> None:
    logits, batch = torch.randn(4, 10), labelled(torch.tensor([0, 3, 3, 9]))
    plain, smoothed = (build_loss(tiny_run(label_smoothing=e))(logits, batch) for e in (0.0, 0.1))
    uniform = -logits.log_softmax(1).mean()
    assert smoothed.item() == pytest.approx((0.9 * plain + 0.1 * uniform).item(), rel=1e-5)


def test_the_mean_loss_of_an_epoch_is_taken_over_images() -> None:
    losses = EpochLosses(epoch=1, device=CPU)
    for loss, images in [(1.0, 30), (4.0, 10)]:
        losses.add(torch.tensor(loss), images=images)
    assert losses.mean() == 1.75
    assert losses.images == 40


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_reported_at_its_step(wrong: float) -> None:
    losses = EpochLosses(epoch=2, device=CPU)
    losses.add(torch.tensor(1.0), images=8)
    with pytest.raises(TrainingDiverged, match=f"became {wrong} in epoch 2, step 2"):
        losses.add(torch.tensor(wrong), images=8)


def test_where_looking_costs_a_wait_it_is_put_off_and_the_step_still_found() -> None:
    losses = EpochLosses(epoch=1, device=torch.device("cuda"))
    for loss in (1.0, math.nan, 1.0):
        losses.add(torch.tensor(loss), images=8)
    with pytest.raises(TrainingDiverged) as caught:
        losses.mean()
    assert caught.value.step == 2


def distilled(**changes: object) -> DistillationConfig:
    return DistillationConfig(digest="x", model=tiny_model()).with_(**changes)


def test_the_teachers_term_by_hand() -> None:
    """Logits (ln 3, 0) and a teacher's (0, ln 9), at T = 2: student (√3, 1), teacher (1, 3)."""
    logits = torch.tensor([[math.log(3.0), 0.0]], dtype=torch.float64)
    teacher = torch.tensor([[0.0, math.log(9.0)]], dtype=torch.float64)
    total = math.sqrt(3) + 1
    expected = -(0.25 * math.log(math.sqrt(3) / total) + 0.75 * math.log(1 / total))
    found = imitation(logits, teacher, temperature=2.0).item()
    assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("changes", "factor"),
    [
        ({}, 1.0),
        ({"temperature": 4.0}, 16.0),
        ({"weight": 0.5}, 0.5),
        ({"temperature": 4.0, "t_squared": False}, 1.0),
    ],
)
def test_smoothing_mixing_and_a_teacher_add_up(changes: dict[str, object], factor: float) -> None:
    """λ = 0.3 between classes 0 and 1 of two, smoothed by ε = 0.1: 0.32 and 0.68."""
    config = tiny_run(model=tiny_model(num_classes=2), label_smoothing=0.1)
    distillation = distilled(**changes).with_(model=config.model)
    temperature = distillation.temperature
    logits, teacher = torch.tensor([[2.0, -1.0]]), torch.tensor([[0.5, 1.5]])
    batch = replace(labelled(torch.tensor([[0.3, 0.7]])), teacher=teacher)
    own = -(0.32 * logits.log_softmax(1)[0, 0] + 0.68 * logits.log_softmax(1)[0, 1])
    answers = (teacher / temperature).softmax(1)
    soft = -(answers * (logits / temperature).log_softmax(1)).sum()
    loss = build_loss(config.with_(distillation=distillation))(logits, batch)
    assert loss.item() == pytest.approx((own + factor * soft).item(), rel=1e-5)


@pytest.mark.parametrize("config", [None, distilled(temperature=3.0)], ids=["labels", "teacher"])
def test_logits_in_half_precision_are_judged_in_full(config: DistillationConfig | None) -> None:
    logits, teacher = torch.randn(2, 16, 10)
    batch = replace(labelled(torch.arange(16) % 10), teacher=teacher)
    loss, half = build_loss(tiny_run(distillation=config)), logits.bfloat16()
    assert torch.equal(loss(half, batch), loss(half.float(), batch))


def test_gradients_of_the_teachers_term_keep_their_size_at_a_high_temperature() -> None:
    """For a small z/T, T² · ∂CE/∂z tends to (z - v) / K (Hinton 2015, §2.1)."""
    logits = torch.tensor([[1.0, 0.0, -1.0]], requires_grad=True)
    teacher = torch.tensor([[-1.0, 2.0, -1.0]])
    for t_squared, expected in ((True, [2 / 3, -2 / 3, 0.0]), (False, [0.0, 0.0, 0.0])):
        config = distilled(temperature=1000.0, t_squared=t_squared)
        batch = replace(labelled(torch.tensor([0])), teacher=teacher)
        run = tiny_run(distillation=config, label_smoothing=0.0)
        own = smoothed_cross_entropy(logits, batch, smoothing=0.0)
        loss = build_loss(run)(logits, batch) - own
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient[0].tolist() == pytest.approx(expected, abs=2e-3)
