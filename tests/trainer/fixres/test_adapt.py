from itertools import takewhile
from typing import Any

import pytest
import torch
from torch import nn

from tests.trainer.factories import timeless
from tests.trainer.fixres.factories import FAMILIES, adaptation, adapted, changed, network, snapshot
from trainer.config import ExecutionConfig
from trainer.data.batches import evaluation_batches
from trainer.data.splits import Splits
from trainer.errors import ConfigError, TrainingDiverged
from trainer.evaluate import evaluate
from trainer.fit import Beat
from trainer.fixres.adapt import fixres
from trainer.fixres.anatomy import dissect, tuned_part

KINDS: list[dict[str, Any]] = [
    {"adaptation": "none"},
    {"adaptation": "parametric"},
    {"adaptation": "statistics"},
    {"adaptation": "finetune"},
    {"adaptation": "finetune", "affine": True},
    {"adaptation": "finetune", "augmentation": "v2", "flip": True},
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("change", KINDS, ids=lambda change: "-".join(map(str, change.values())))
def test_only_what_is_tuned_changes_and_all_of_it(
    splits: Splits, family: str, change: dict[str, Any]
) -> None:
    config = adaptation(family, crop_fraction=0.8, **change)
    model = network(config.source, splits)
    before = snapshot(model)
    flags = [(parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    list(fixres(config, model, splits))
    after = model.state_dict()
    assert changed(before, after) == set(tuned_part(dissect(model), config).tensors)
    assert before.keys() <= after.keys()
    assert [(p.requires_grad, p.grad) for p in model.parameters()] == flags
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("kind", ["statistics", "finetune"])
def test_without_a_norm_before_the_pool_the_rest_is_as_strict(splits: Splits, kind: str) -> None:
    config = adaptation("wide-resnet", adaptation=kind)
    model = network(config.source, splits)
    model.set_submodule("norm", nn.Identity())
    before = snapshot(model)
    list(fixres(config, model, splits))
    classifier = {"classifier.weight", "classifier.bias"} if kind == "finetune" else set()
    assert changed(before, model.state_dict()) == classifier


@pytest.mark.parametrize("kind", ["none", "parametric", "statistics", "finetune"])
def test_the_first_report_is_of_the_model_that_came_the_last_of_the_one_that_is_left(
    splits: Splits, kind: str
) -> None:
    config = adaptation(adaptation=kind, crop_fraction=0.8)
    model, reports = adapted(config, splits)
    assert [report.epoch for report in reports] == list(range(config.num_reports))
    for net, report in ((network(config.source, splits), reports[0]), (model, reports[-1])):
        batches = evaluation_batches(
            splits.selection, resolution=24, batch_size=16, device="cpu", crop_fraction=0.8
        )
        scores = evaluate(net, batches, num_classes=10, execution=config.source.execution)
        assert (report.top1, report.loss) == (scores.top1, pytest.approx(scores.loss, rel=1e-6))
        assert report.correct == scores.packed()
        assert report.num_images == 72


def test_the_reporting_split_is_looked_at_only_if_asked_for(splits: Splits) -> None:
    _, reports = adapted(adaptation(adaptation="none", evaluate_on="reporting"), splits)
    assert reports[0].num_images == len(splits.reporting) != len(splits.selection)


def test_fine_tuning_lowers_the_loss(splits: Splits) -> None:
    _, reports = adapted(adaptation(epochs=12, lr=4.0), splits)
    assert reports[-1].loss < 0.9 * reports[0].loss
    assert reports[-1].top1 > reports[0].top1 + 0.1
    assert reports[-1].train_loss < reports[1].train_loss


def test_the_rate_is_the_published_form_and_falls_every_so_many_epochs(splits: Splits) -> None:
    _, reports = adapted(adaptation(epochs=3, step_epochs=2), splits)
    peak = 8 * 0.05 * 16 / 512
    assert [report.lr for report in reports] == pytest.approx([0, peak, peak, peak / 10])


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("flip", [False, True])
def test_kept_features_tune_as_computed_ones_do(splits: Splits, family: str, flip: bool) -> None:
    config = adaptation(family, flip=flip, affine=True, label_smoothing=0.1)
    kept, reports = adapted(config, splits)
    computed, other_reports = adapted(config.with_(cache_bytes=0), splits)
    assert reports != other_reports  # one of the two was rounded
    for report, other in zip(reports, other_reports, strict=True):
        assert report.loss == pytest.approx(other.loss, rel=2e-3)
        assert report.train_loss == pytest.approx(other.train_loss, rel=2e-3)
    other_state = computed.state_dict()
    for name, tensor in kept.state_dict().items():
        assert torch.allclose(tensor, other_state[name], rtol=5e-3, atol=5e-3), name


def test_epochs_on_kept_features_cost_no_pass_through_the_frozen_part(splits: Splits) -> None:
    def passes(epochs: int) -> int:
        config, seen = adaptation(epochs=epochs), []
        model = network(config.source, splits)
        model.get_submodule("features.0").register_forward_hook(lambda *_: seen.append(1))
        list(fixres(config, model, splits))
        return len(seen)

    assert passes(1) == passes(5)


@pytest.mark.parametrize("kind", ["parametric", "statistics", "finetune"])
def test_half_precision_is_as_strict(splits: Splits, kind: str) -> None:
    config = adaptation(adaptation=kind)
    config = config.with_(source=config.source.with_(execution=ExecutionConfig(precision="bf16")))
    model = network(config.source, splits)
    before = snapshot(model)
    reports = timeless(fixres(config, model, splits))
    assert reports[-1].loss != reports[0].loss
    found = changed(before, model.state_dict())
    assert found == set(tuned_part(dissect(model), config).tensors)


@pytest.mark.parametrize("change", KINDS, ids=lambda change: "-".join(map(str, change.values())))
def test_the_same_configuration_and_seed_give_the_same_model(
    splits: Splits, change: dict[str, Any]
) -> None:
    config = adaptation(crop_fraction=0.8, **change)
    first, reports = adapted(config, splits)
    torch.manual_seed(77)
    second, other_reports = adapted(config, splits)
    assert reports == other_reports
    assert changed(first.state_dict(), second.state_dict()) == set()


def test_another_seed_tunes_in_another_order(splits: Splits) -> None:
    _, reports = adapted(adaptation(), splits)
    _, others = adapted(adaptation(seed=1), splits)
    assert reports[0] == others[0]
    assert reports[1] != others[1]


@pytest.mark.parametrize("batches", [0, 3, 7, 12])
def test_it_stops_at_any_batch_and_gives_the_model_back_thawed(
    splits: Splits, batches: int
) -> None:
    left = batches

    def should_stop() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    config = adaptation()
    model = network(config.source, splits)
    reports = timeless(fixres(config, model, splits, should_stop=should_stop))
    assert len(reports) < config.num_reports
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_there_are_signs_of_life_while_features_are_computed(splits: Splits) -> None:
    config = adaptation()
    run = fixres(config, network(config.source, splits), splits, beat_seconds=0)
    beats = list(takewhile(lambda item: getattr(item, "epoch", 0) < 2, run))
    computing = [beat for beat in beats if isinstance(beat, Beat) and beat.step == 0]
    assert len(computing) == 3 + 5  # batches to train on, and to select on


def test_a_loss_that_is_not_finite_is_an_error(splits: Splits) -> None:
    with pytest.raises(TrainingDiverged):
        adapted(adaptation(lr=1e30), splits)


def test_what_cannot_be_adapted_is_refused_at_once(splits: Splits) -> None:
    with pytest.raises(ConfigError, match="cannot be adapted"):
        list(fixres(adaptation(), nn.Sequential(nn.Flatten()), splits))
