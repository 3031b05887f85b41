"""Density matching on images of which it is known what matters in them: their colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainer.augment.policy import AnyPolicy, Operation, Policy, SubPolicy
from trainer.checkpoint import Checkpointing
from trainer.config import AugmentConfig, DataConfig, OptimConfig, TrainConfig
from trainer.data.batches import augmented_batches, evaluation_batches
from trainer.data.cache import prepare
from trainer.data.splits import Splits, carve, hold_out
from trainer.density import density_scores
from trainer.errors import CheckpointError
from trainer.fit import fit
from trainer.models.children import child
from trainer.restoring import trained_model

SIDE = 16
CPU = torch.device("cpu")


def policy(name: str, magnitude: float | None = None) -> Policy:
    """One operation, done to every image."""
    operation = Operation(name=name, magnitude=magnitude)
    return Policy(name=name, sub_policies=(SubPolicy(operations=(operation,)),))


@pytest.fixture(scope="module")
def coloured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squares in three dull colours, anywhere, of any size, on grey noise."""
    root = tmp_path_factory.mktemp("coloured")
    rng = np.random.default_rng(0)
    for label, name in enumerate(("red", "green", "blue")):
        (root / name).mkdir()
        for number in range(120):
            image = np.repeat(rng.integers(90, 130, (SIDE, SIDE, 1)), 3, axis=2)
            top, left, side = rng.integers(0, 8), rng.integers(0, 8), rng.integers(6, 9)
            image[top : top + side, left : left + side, label] += 70
            Image.fromarray(image.astype(np.uint8)).save(root / name / f"{number:03}.png")
    return root


@pytest.fixture(scope="module")
def config(coloured: Path) -> TrainConfig:
    return TrainConfig(
        model=child("wrn-10-0.5", num_classes=3, resolution=SIDE),
        data=DataConfig(dataset=str(coloured)),
        augment=AugmentConfig(crop="none"),
        optim=OptimConfig(lr=0.2),
        epochs=8,
        batch_size=16,
    )


@pytest.fixture(scope="module")
def splits(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Splits:
    decoded = prepare(config.data.dataset, cache_root=tmp_path_factory.mktemp("cache"))
    return hold_out(carve(decoded, config.data), 0.4, seed=0, number=0)


@pytest.fixture(scope="module")
def trained(config: TrainConfig, splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judge")
    *_, last = fit(config, splits, checkpoint=Checkpointing(directory=folder))
    assert last.top1 > 0.95  # type: ignore[union-attr]
    return folder


def test_what_breaks_the_classes_ranks_below_what_does_them_no_harm(
    trained: Path, config: TrainConfig, splits: Splits
) -> None:
    model = trained_model(trained, config)

    def score(candidate: AnyPolicy) -> float:
        scores = density_scores(
            model, splits.selection, candidate, config=config, draws=3, device=CPU
        )
        assert scores is not None
        assert scores.count == 3 * len(splits.selection)
        return scores.top1

    harmless = [policy("translate-x", 0.1), policy("sharpness", 1.5), policy("identity")]
    breaking = [policy("invert"), policy("color", 0.1), policy("posterize", 1)]
    assert min(map(score, harmless)) > max(map(score, breaking)) + 0.1


def test_without_a_policy_it_is_the_plain_evaluation(
    trained: Path, config: TrainConfig, splits: Splits
) -> None:
    options = {"resolution": SIDE, "batch_size": 16, "device": CPU}
    plain = list(evaluation_batches(splits.selection, **options))  # type: ignore[arg-type]
    twice = list(
        augmented_batches(
            splits.selection,
            policy=policy("identity"),
            draws=2,
            **options,  # type: ignore[arg-type]
        )
    )
    assert len(twice) == 2 * len(plain)
    for number, batch in enumerate(twice):
        assert batch.images.equal(plain[number // 2].images)


def test_a_stopped_score_is_none(trained: Path, config: TrainConfig, splits: Splits) -> None:
    model = trained_model(trained, config)
    stopped = density_scores(
        model,
        splits.selection,
        policy("invert"),
        config=config,
        draws=1,
        device=CPU,
        should_stop=lambda: True,
    )
    assert stopped is None


def test_the_restored_model_scores_what_the_run_reported(
    trained: Path, config: TrainConfig, splits: Splits
) -> None:
    model = trained_model(trained, config)
    found = density_scores(
        model, splits.selection, policy("identity"), config=config, draws=1, device=CPU
    )
    again = list(fit(config, splits, checkpoint=Checkpointing(directory=trained)))
    assert found is not None
    assert found.top1 == again[-1].top1  # type: ignore[union-attr]


def test_an_unfinished_run_is_no_trained_model(
    config: TrainConfig, splits: Splits, tmp_path: Path
) -> None:
    files = Checkpointing(directory=tmp_path)
    list(fit(config, splits, checkpoint=files, stop_after=1))
    with pytest.raises(CheckpointError, match="trained for 1 of 8 epochs"):
        trained_model(tmp_path, config)
