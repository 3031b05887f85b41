import numpy as np
import pytest
import torch
from torch import nn

from trainer.config import ExecutionConfig
from trainer.data.batches import Batch
from trainer.evaluate import evaluate, evaluating, predict


class Echo(nn.Module):
    """Takes the first pixels of an image for its logits."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, : self.num_classes]


def batch(logits: list[list[float]], labels: list[int]) -> Batch:
    images = torch.zeros(len(logits), 3, 2, 4)
    images.flatten(1)[:, : len(logits[0])] = torch.tensor(logits)
    return Batch(images=images, labels=torch.tensor(labels))


def test_scores_of_a_case_worked_out_by_hand() -> None:
    batches = [
        batch([[3, 0, 0], [0, 3, 0]], [0, 0]),  # right, wrong
        batch([[0, 3, 0]], [1]),  # right
    ]
    scores = evaluate(Echo(3), batches, num_classes=3)
    wrong, right = np.log(np.exp(3) + 2), np.log(np.exp(3) + 2) - 3
    assert scores.top1 == pytest.approx(2 / 3)
    assert scores.top5 == 1.0  # of three classes all are among the first five
    assert scores.loss == pytest.approx((2 * right + wrong) / 3)
    assert scores.recall == (0.5, 1.0, 0.0)
    assert scores.count == 3
    assert scores.correct == (True, False, True)
    assert scores.packed() == "a0"


def test_top_5_counts_the_fifth_guess_and_not_the_sixth() -> None:
    falling = [[6.0, 5, 4, 3, 2, 1]] * 6
    scores = evaluate(Echo(6), [batch(falling, [0, 1, 2, 3, 4, 5])], num_classes=6)
    assert scores.top5 == pytest.approx(5 / 6)
    assert scores.top1 == pytest.approx(1 / 6)


def test_the_answers_unpack_to_what_was_packed() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(21, 4, generator=generator), torch.arange(21) % 4
    scores = evaluate(Echo(4), [batch(logits.tolist(), labels.tolist())], num_classes=4)
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(scores.packed()), np.uint8))
    assert tuple(bits[:21].astype(bool)) == scores.correct


def test_how_images_are_batched_does_not_matter() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(32, 4))
    images, labels = torch.randn(10, 3, 2, 4), torch.arange(10) % 4

    def in_batches_of(size: int) -> tuple[float, tuple[bool, ...]]:
        parts = zip(images.split(size), labels.split(size), strict=True)
        batches = (Batch(images=i, labels=j) for i, j in parts)
        scores = evaluate(model, batches, num_classes=4)
        return pytest.approx(scores.loss, rel=1e-5), scores.correct

    assert in_batches_of(10) == in_batches_of(3)


def test_a_model_is_evaluated_in_evaluation_mode_and_given_back_as_it_was() -> None:
    model = nn.Sequential(nn.Dropout(0.5), Echo(3))
    with evaluating(model):
        assert not model.training
    assert model.training
    once = batch([[1, 0, 0]] * 64, [0] * 64)
    assert evaluate(model, [once], num_classes=3).top1 == 1.0  # dropout would make it err


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(ValueError, match="no batch"):
        evaluate(Echo(3), [], num_classes=3)


def test_logits_come_as_float32_and_were_computed_in_the_configured_precision() -> None:
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(24, 3)), torch.randn(4, 3, 2, 4)
    exact = predict(model, images)
    rounded = predict(model, images, execution=ExecutionConfig(precision="bf16"))
    assert rounded.dtype is torch.float32
    assert torch.equal(rounded, rounded.bfloat16().float())
    assert not torch.equal(rounded, exact)
