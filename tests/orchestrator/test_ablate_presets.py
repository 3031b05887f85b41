"""The ladders of the papers, rung by rung, against what the papers print."""

import json
from pathlib import Path

import pytest

from orchestrator.ablation.ladders import Design, Rung, beside, rungs_of
from orchestrator.ablation.networks import network
from orchestrator.ablation.presets import PRESETS, find_preset
from orchestrator.ablation.teacher import unnamed_teacher
from orchestrator.ablation.trick import Means
from trainer.config import ResNetConfig, TrainConfig
from trainer.optim import peak_lr

COUNTS = json.loads((Path(__file__).parents[1] / "golden" / "resnet.json").read_text())


def climbed(
    name: str,
    *,
    design: Design = "cumulative",
    device: str = "cuda",
    classes: int = 1000,
    dataset: str = "photos",
    epochs: int | None = None,
    small: bool = False,
    batch_size: int | None = None,
) -> dict[str, Rung]:
    """A preset's rungs by name."""
    preset = find_preset(name)
    model = network(
        f"{preset.network}-small" if small else preset.network,
        num_classes=classes,
        resolution=32 if small else preset.resolution,
    )
    assert isinstance(model, ResNetConfig)
    base = preset.recipe(model, dataset, device)
    if epochs is not None:
        base = base.with_(epochs=epochs)
    base = base.with_(batch_size=batch_size or base.batch_size)
    means = Means(settings=preset.settings, policy=preset.policy, teacher=unnamed_teacher(model))
    rungs, _ = rungs_of(base, preset.steps_from(base), means, design)
    return {rung.name: rung for rung in rungs}


def resnet(rung: Rung) -> ResNetConfig:
    assert isinstance(rung.train.model, ResNetConfig)
    return rung.train.model


ASSEMBLE = {  # Lee 2020, arXiv:2001.06268, v1, table 7
    "E0": (120, 224),
    "E1": (120, 224),
    "E2": (120, 224),
    "E3": (200, 224),
    "E4": (200, 224),
    "E5": (270, 224),
    "E6": (270, 224),
    "E7": (270, 224),
    "E8": (600, 224),
    "E9": (600, 256),
    "E10": (600, 256),
    "E11": (600, 256),
    "E12": (600, 256),
}


def test_assemble_resnet_is_the_papers_ladder_with_its_epochs_and_test_resolutions() -> None:
    rungs = climbed("assemble-resnet")
    assert {n: (r.train.epochs, r.test_resolution) for n, r in rungs.items()} == ASSEMBLE
    assert {rung.train.model.resolution for rung in rungs.values()} == {224}
    assert [rung.over for rung in rungs.values()] == [None, *list(ASSEMBLE)[:-1]]


def test_assemble_resnet_has_the_papers_tricks_on_every_rung() -> None:
    rungs = climbed("assemble-resnet")
    trains = {name: rung.train for name, rung in rungs.items()}
    models = {name: resnet(rung) for name, rung in rungs.items()}

    def since(name: str) -> list[bool]:
        names = list(ASSEMBLE)
        return [names.index(each) >= names.index(name) for each in names]

    assert [m.shortcut == "pooled" for m in models.values()] == since("E1")
    assert [t.label_smoothing == 0.1 for t in trains.values()] == since("E2")
    mixes = [t.mix for t in trains.values()]
    assert [mix is not None for mix in mixes] == since("E3")
    assert {(m.kind, m.draw, m.alpha) for m in mixes if m} == {("mixup", "sample", 0.2)}
    assert [m.attention for m in models.values()] == ["none"] * 4 + ["se"] * 2 + ["sk"] * 7
    assert [m.drop_block is not None for m in models.values()] == since("E5")
    assert [t.distillation is not None for t in trains.values()] == since("E7")
    assert [m.big_little is not None for m in models.values()] == since("E9")
    assert [m.deep_stem for m in models.values()] == [False] + [True] * 8 + [False] * 4
    assert [m.blur for m in models.values()] == ["none"] * 10 + ["conv"] * 3
    assert [t.augment.policy is not None for t in trains.values()] == since("E11")
    block = models["E5"].drop_block
    assert block is not None
    assert (block.block_size, block.stages, block.scales) == (7, (3, 4), (0.25, 1.0))
    taught = trains["E7"].distillation
    assert taught is not None
    assert (taught.temperature, taught.weight, taught.t_squared) == (1.0, 1.0, True)


def test_assemble_resnet_is_trained_as_in_the_paper() -> None:
    for rung in climbed("assemble-resnet").values():
        train = rung.train
        assert (train.batch_size, train.optim.lr, train.optim.weight_decay) == (1024, 0.1, 1e-4)
        assert (train.optim.decay_norm_and_bias, train.optim.decay_bias) == (False, True)
        assert (train.schedule.kind, train.schedule.warmup_epochs) == ("cosine", 5.0)
        assert (train.augment.crop, train.augment.scale) == ("random-resized", (0.05, 1.0))
        assert train.data.std == (1 / 255,) * 3  # the mean is subtracted, nothing divided
        assert train.execution.precision == "fp16"
        model = resnet(rung)
        assert (model.zero_gamma, model.norm_momentum) == (True, 0.003)


def test_assemble_resnet_costs_what_the_networks_of_the_paper_cost() -> None:
    rungs, known = climbed("assemble-resnet"), COUNTS["reference"]
    for name, reference in (("E0", "resnet50"), ("E1", "resnet50d"), ("E3", "resnet50d")):
        cost = rungs[name].cost
        assert (cost.params, cost.macs) == (known[reference]["params"], known[reference]["macs"])
    for names, assembled, side in (
        (("E6", "E7", "E8"), "d-sk", "224"),
        (("E9",), "bl-sk", "256"),
        (("E10", "E11"), "assemble-resnet-50", "256"),
        (("E12",), "assemble-resnet-152", "256"),
    ):
        expected = COUNTS["assembled"][assembled]
        for name in names:
            cost = rungs[name].cost
            assert cost.params == expected["params"]
            assert cost.macs / 1e9 == pytest.approx(expected["gmacs"][side], abs=0.006)
    paper = {"E0": 4.1, "E1": 4.4, "E6": 6.2, "E9": 5.4}  # its appendix, in billions
    for name, billions in paper.items():
        assert rungs[name].cost.macs / 1e9 == pytest.approx(billions, abs=0.08)


def test_what_the_paper_changed_beside_a_trick_is_said() -> None:
    rungs = climbed("assemble-resnet")
    said = {
        name: beside(rung, rungs[rung.over])
        for name, rung in rungs.items()
        if rung.over and beside(rung, rungs[rung.over])
    }
    assert said == {
        "E3": ["200 epochs instead of 120"],
        "E5": ["270 epochs instead of 200"],
        "E9": ["tested at 256 px instead of 224"],
        "E12": ["cut from 257 px instead of 292 px"],
    }
    assert rungs["E8"].compares == ("longer-training",)
    assert (rungs["E6"].replaces, rungs["E9"].replaces) == (("se",), ("deep-stem",))


def test_bag_of_tricks_begins_with_the_papers_baseline() -> None:
    rungs = climbed("bag-of-tricks")
    train = rungs["baseline"].train
    assert (train.epochs, train.batch_size, train.optim.lr) == (120, 256, 0.1)
    assert (train.schedule.kind, train.schedule.step_epochs, train.schedule.step_factor) == (
        "step",
        30.0,
        0.1,
    )
    assert train.optim.decay_norm_and_bias
    assert peak_lr(train.optim, batch_size=train.batch_size) == 0.1
    assert train.execution.precision == "fp32"
    assert (train.augment.crop, train.augment.scale, train.augment.flip) == (
        "random-resized",
        (0.08, 1.0),
        True,
    )
    assert getattr(train.augment.policy, "name", "").startswith("bag-of-tricks")
    assert [round(255 * value, 3) for value in train.data.mean] == [123.68, 116.779, 103.939]
    assert [round(255 * value, 3) for value in train.data.std] == [58.393, 57.12, 57.375]
    model = resnet(rungs["baseline"])
    assert (model.init, model.stride_at, model.zero_gamma) == ("xavier", "first-1x1", False)


def test_bag_of_tricks_adds_one_thing_after_the_other() -> None:
    rungs = climbed("bag-of-tricks")
    trains = {name: rung.train for name, rung in rungs.items()}
    fast = trains["linear-lr"]
    assert (fast.batch_size, peak_lr(fast.optim, batch_size=fast.batch_size)) == (1024, 0.4)
    assert trains["warmup"].schedule.warmup_epochs == 5.0
    assert resnet(rungs["zero-gamma"]).zero_gamma
    assert not trains["no-bias-decay"].optim.decay_norm_and_bias
    assert trains["cosine"].schedule.kind == "cosine"
    assert trains["label-smoothing"].label_smoothing == 0.1
    taught = trains["distillation"].distillation
    assert taught is not None
    assert taught.temperature == 20.0
    assert trains["distillation"].mix is None
    mix = trains["mixup"].mix
    assert mix is not None
    assert (mix.draw, mix.alpha, trains["mixup"].distillation) == ("batch", 0.2, None)
    assert trains["distillation+mixup"].mix == mix
    assert trains["distillation+mixup"].distillation == taught
    overs = {name: rung.over for name, rung in rungs.items()}
    assert overs["distillation"] == overs["mixup"] == "label-smoothing"
    assert overs["distillation+mixup"] == "mixup"
    epochs = {name: train.epochs for name, train in trains.items()}
    assert {name for name, number in epochs.items() if number == 200} == {
        "mixup",
        "distillation+mixup",
    }
    assert set(epochs.values()) == {120, 200}


def test_the_tweaks_of_bag_of_tricks_cost_what_the_paper_prints() -> None:
    rungs = climbed("bag-of-tricks")
    printed = {"mixed-precision": (3.9, 0.05), "B": (4.1, 0.05), "C": (4.3, 0.05), "D": (4.3, 0.05)}
    for name, (billions, tolerance) in printed.items():
        cost = rungs[name].cost
        assert cost.macs / 1e9 == pytest.approx(billions, abs=tolerance)
        assert round(cost.params / 1e6) in (25, 26)
    assert rungs["D"].cost.macs == COUNTS["reference"]["resnet50d"]["macs"]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("design", ["leave-one-out", "add-one"])
def test_a_preset_has_every_design(name: str, design: Design) -> None:
    rungs = list(climbed(name, design=design).values())
    assert len(rungs) > 10
    keys: set[TrainConfig] = {rung.train for rung in rungs}
    assert len(keys) == len(rungs)  # every one leaves out, or adds, something
    first = rungs[0]
    for rung in rungs[1:]:
        assert beside(rung, first) == []  # pairs differ in the trick alone


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_on_a_small_network_keeps_its_proportions(name: str) -> None:
    rungs = climbed(name, epochs=12, small=True, dataset="digits", classes=10)
    whole = climbed(name)
    for each, rung in rungs.items():
        assert rung.train.epochs == round(whole[each].train.epochs / 10)
        assert (rung.test_resolution > 32) == (whole[each].test_resolution > 224)
        assert not rung.train.augment.flip  # a mirrored digit is another one
        assert rung.train.test_crop_fraction is None  # small images have nothing to spare


def test_bag_of_tricks_in_smaller_batches_keeps_its_proportions() -> None:
    trains = [rung.train for rung in climbed("bag-of-tricks", batch_size=64).values()]
    small, large = trains[:2]
    assert (small.batch_size, large.batch_size) == (64, 256)
    rates = [peak_lr(train.optim, batch_size=train.batch_size) for train in (small, large)]
    assert rates == [0.1 / 4, 0.1]
