"""The tricks as one training run is told of them, each on its own and all together."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.factories import (
    timeless,
    tiny_model,
    tiny_resnet,
    tiny_run,
    tiny_teacher,
)
from trainer.augment.policy import Operation, Policy, SubPolicy
from trainer.checkpoint import Checkpointing, load_model
from trainer.config import (
    AugmentConfig,
    EpochReport,
    ExecutionConfig,
    MixConfig,
    OptimConfig,
    ScheduleConfig,
    TrainConfig,
)
from trainer.data.batches import evaluation_batches
from trainer.data.splits import Splits
from trainer.errors import ConfigError
from trainer.evaluate import evaluate
from trainer.feeding import Feed
from trainer.fit import fit
from trainer.models.build import build
from trainer.models.resnets import named_resnet
from trainer.portable.making import portable

DISTILLATION, WEIGHTS = tiny_teacher(temperature=2.0)
STILL = AugmentConfig(crop="none", flip=True)

EVERYTHING: dict[str, Any] = {
    "model": tiny_resnet(zero_gamma=True, stochastic_depth=0.5, dropout=0.3),
    "optim": OptimConfig(lr=0.05, fixed_lr=True),
    "schedule": ScheduleConfig(warmup_epochs=1),
    "test_resolution": 24,
    "distillation": DISTILLATION,
}
COMBINATIONS = {
    "mixup": tiny_run(**EVERYTHING, mix=MixConfig(probability=0.7)),
    "cutmix of single images": tiny_run(
        **EVERYTHING, mix=MixConfig(kind="cutmix", alpha=1.0, draw="sample")
    ),
    "kept answers": tiny_run(**EVERYTHING, augment=STILL),
}


def losses(config: TrainConfig, splits: Splits) -> list[float]:
    found = timeless(fit(config, splits, teacher=WEIGHTS))
    return [report.train_loss for report in found]


@pytest.mark.parametrize("config", COMBINATIONS.values(), ids=COMBINATIONS)
def test_with_every_trick_a_resumed_run_equals_an_uninterrupted_one(
    config: TrainConfig, splits: Splits, tmp_path: Path
) -> None:
    whole = timeless(fit(config, splits, teacher=WEIGHTS))
    files = Checkpointing(directory=tmp_path, every_seconds=0)
    found: list[EpochReport] = []
    for until in (1, 2, 3):
        found += timeless(
            fit(
                config,
                splits,
                checkpoint=files,
                teacher=WEIGHTS,
                known_epochs=len(found),
                stop_after=until,
            )
        )
    assert found == whole


@pytest.mark.parametrize(
    "changes",
    [
        {"mix": MixConfig()},
        {"mix": MixConfig(kind="cutmix")},
        {"mix": MixConfig(draw="sample")},
        {"mix": MixConfig(alpha=1.0, probability=0.5)},
        {"distillation": DISTILLATION},
        {"optim": OptimConfig(lr=0.5, fixed_lr=True)},
        {"label_smoothing": 0.2},
        {"model": tiny_model(zero_gamma=True, dropout=0.3, stochastic_depth=0.5)},
    ],
    ids=str,
)
def test_every_trick_changes_what_is_learned(changes: dict[str, Any], splits: Splits) -> None:
    assert losses(tiny_run(**changes), splits) != losses(tiny_run(), splits)


def test_tricks_that_differ_in_one_number_train_differently(splits: Splits) -> None:
    mixes = [
        MixConfig(kind=kind, draw=draw)  # type: ignore[arg-type]
        for kind in ("mixup", "cutmix")
        for draw in ("batch", "sample")
    ]
    teachers = [DISTILLATION, DISTILLATION.with_(t_squared=False), DISTILLATION.with_(weight=0.5)]
    configs = [tiny_run(epochs=1, mix=mix) for mix in mixes]
    configs += [tiny_run(epochs=1, distillation=teacher) for teacher in teachers]
    assert len({tuple(losses(config, splits)) for config in configs}) == len(configs)


def test_what_is_not_scaled_is_the_rate_as_it_stands(splits: Splits) -> None:
    optim, steady = OptimConfig(lr=0.4), ScheduleConfig(kind="step")
    for fixed, expected in ((False, 0.4 * 16 / 256), (True, 0.4)):
        config = tiny_run(epochs=1, optim=optim.with_(fixed_lr=fixed), schedule=steady)
        (report,) = timeless(fit(config, splits))
        assert report.lr == pytest.approx(expected)


def test_the_rates_of_a_run_are_those_of_its_schedule_over_all_epochs(splits: Splits) -> None:
    """Three steps an epoch: six of warm-up, and six of a cosine, of each epoch the last."""
    optim, schedule = OptimConfig(lr=0.16), ScheduleConfig(kind="cosine", warmup_epochs=2)
    config = tiny_run(epochs=4, optim=optim, schedule=schedule)
    found = [report.lr for report in timeless(fit(config, splits))]
    assert found == pytest.approx([0.005, 0.01, 0.0075, 0.000669873])


@pytest.fixture
def progress(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What a network is told of its progress in training mode."""
    told: list[float] = []

    def tell(network: torch.nn.Module, value: float) -> None:
        assert network.training
        told.append(value)

    monkeypatch.setattr("trainer.fit.set_drop_progress", tell)
    return told


def test_a_network_is_told_its_progress_before_every_step(
    splits: Splits, progress: list[float], tmp_path: Path
) -> None:
    config = tiny_run(model=tiny_resnet())
    list(fit(config, splits))
    expected = [step / 9 for step in range(9)]
    assert progress == pytest.approx(expected)
    progress.clear()
    files = Checkpointing(directory=tmp_path)
    list(fit(config, splits, checkpoint=files, stop_after=1))
    progress.clear()
    list(fit(config, splits, checkpoint=files, known_epochs=1))
    assert progress == pytest.approx(expected[3:])


def test_the_schedule_of_drop_block_reaches_the_network(
    splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_run(model=tiny_resnet())
    scheduled = losses(config, splits)
    monkeypatch.setattr("trainer.fit.set_drop_progress", lambda network, value: None)
    assert losses(config, splits) != scheduled


def test_a_network_without_drop_block_has_nothing_to_be_told(
    splits: Splits, progress: list[float]
) -> None:
    list(fit(tiny_run(epochs=1), splits))
    assert progress == []


def test_held_out_images_are_seen_at_the_test_resolution(splits: Splits, tmp_path: Path) -> None:
    files = Checkpointing(directory=tmp_path)
    config = tiny_run(test_resolution=24, epochs=1)
    (usual,) = timeless(fit(config.with_(test_resolution=None), splits))
    (report,) = timeless(fit(config, splits, checkpoint=files))
    assert report.train_loss == usual.train_loss
    assert report.loss != usual.loss
    network = build(config.model)
    network.load_state_dict(dict(load_model(files.best).weights))
    batches = evaluation_batches(
        splits.selection, resolution=24, batch_size=8, device="cpu", channels_last=True
    )
    scores = evaluate(network.to(memory_format=torch.channels_last), batches, num_classes=10)
    assert (scores.loss, scores.top1) == pytest.approx((report.loss, report.top1))
    recipe = portable(network, config, splits.train, name="x", scores={}, origin={}).recipe
    assert recipe.preprocessing.resolution == 24
    assert recipe.model.resolution == 16


def test_held_out_images_are_cut_from_as_large_an_image_as_asked_for(splits: Splits) -> None:
    config = tiny_run(epochs=1)
    (usual,) = timeless(fit(config, splits))  # all of the small images is seen
    (whole,) = timeless(fit(config.with_(test_crop_fraction=1.0), splits))
    config = config.with_(test_crop_fraction=0.5)
    (middle,) = timeless(fit(config, splits))
    assert whole == usual
    assert middle.train_loss == usual.train_loss
    assert middle.loss != usual.loss
    recipe = portable(
        build(config.model), config, splits.train, name="x", scores={}, origin={}
    ).recipe
    assert (recipe.preprocessing.crop_fraction, recipe.preprocessing.short_side) == (0.5, 32)


def test_held_out_images_are_judged_in_the_precision_of_the_run(
    splits: Splits, tmp_path: Path
) -> None:
    execution = ExecutionConfig(precision="bf16")
    config, files = tiny_run(epochs=1, execution=execution), Checkpointing(directory=tmp_path)
    (report,) = timeless(fit(config, splits, checkpoint=files))
    network = build(config.model)
    network.load_state_dict(dict(load_model(files.best).weights))
    network = network.to(memory_format=torch.channels_last)
    found = []
    for each in (execution, ExecutionConfig()):
        batches = evaluation_batches(
            splits.selection, resolution=16, batch_size=8, device="cpu", channels_last=True
        )
        found.append(evaluate(network, batches, num_classes=10, execution=each).loss)
    assert found[0] == pytest.approx(report.loss, rel=1e-9)
    assert found[1] != pytest.approx(report.loss, rel=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MixConfig(alpha=0.0), "mix.alpha must be positive, got 0.0"),
        (lambda: MixConfig(probability=0.0), "mix.probability must be in (0, 1], got 0.0"),
        (lambda: MixConfig(probability=1.5), "mix.probability must be in (0, 1], got 1.5"),
        (
            lambda: tiny_run(test_resolution=2),
            "test_resolution: 2 px is below the network's total stride 4; use at least 4",
        ),
        (
            lambda: TrainConfig(
                model=named_resnet("assemble-resnet-50", num_classes=10), test_resolution=250
            ),
            "test_resolution must be a multiple of 32 under Big-Little, whose branches would else "
            "not match, got 250; try 224 or 256",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(make: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message


def test_assembled_networks_are_tested_larger_than_they_are_trained() -> None:
    model = named_resnet("assemble-resnet-50", num_classes=10)
    assert TrainConfig(model=model, test_resolution=256).evaluated_at == 256
    assert TrainConfig(model=model).evaluated_at == 224


def test_a_run_mixes_single_images_with_those_of_another_pass(splits: Splits) -> None:
    config = tiny_run(mix=MixConfig(draw="sample", alpha=1.0), augment=STILL.with_(flip=False))
    feed = Feed(config, splits.train, device=torch.device("cpu"))
    plain = Feed(config.with_(mix=None), splits.train, device=torch.device("cpu"))
    for batch, alone in zip(feed.batches(1), plain.batches(1), strict=True):
        known = {image.numpy().tobytes(): number for number, image in enumerate(alone.images)}
        classes = (batch.labels > 0).sum(dim=1)
        assert set(classes.tolist()) == {1, 2}  # of ten classes a tenth meets its own
        assert (classes == 2).sum() > 8
        assert not any(image.numpy().tobytes() in known for image in batch.images)
        own = batch.labels[torch.arange(len(alone.labels)), alone.labels]
        assert own.gt(0).all()  # the first image is the one that would have been seen


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_run_that_draws_for_the_batch_mixes_the_batch_with_itself(
    kind: Any, splits: Splits
) -> None:
    """Each image is the first of a mixture once and the second of another once."""
    config = tiny_run(mix=MixConfig(kind=kind, alpha=1.0))
    feed = Feed(config, splits.train, device=torch.device("cpu"))
    plain = Feed(config.with_(mix=None), splits.train, device=torch.device("cpu"))
    for batch, alone in zip(feed.batches(1), plain.batches(1), strict=True):
        shown = alone.labels.bincount(minlength=10).float()
        torch.testing.assert_close(batch.labels.sum(dim=0), shown)


BLACK = Policy(
    name="black",
    sub_policies=(SubPolicy(operations=(Operation(name="brightness", magnitude=0.0),)),),
)


@pytest.mark.parametrize("draw", ["batch", "sample"])
def test_both_images_of_a_mixture_are_augmented_by_the_policy(draw: Any, splits: Splits) -> None:
    config = tiny_run(mix=MixConfig(draw=draw, alpha=1.0), augment=STILL.with_(policy=BLACK))
    for batch in Feed(config, splits.train, device=torch.device("cpu")).batches(1):
        assert batch.images.std(dim=(0, 2, 3)).max() < 1e-5
        assert (batch.labels > 0).sum(dim=1).max() == 2
