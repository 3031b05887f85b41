"""The stage against a simulated learner: real controller, journal and statistics, no training."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from orchestrator.ablation.ladders import Step, rungs_of
from orchestrator.ablation.teacher import unnamed_teacher
from orchestrator.ablation.trick import Means, TrickSettings
from orchestrator.ablation.tricks import TRICKS, find_trick
from orchestrator.cli.options import ABLATE, OPTIONS
from orchestrator.config.ablate import AblateConfig
from orchestrator.config.common import CommonConfig
from orchestrator.errors import StageFailed, UsageError
from orchestrator.history import History, Status
from orchestrator.journal import read_events
from orchestrator.loading import decode_spec
from orchestrator.reporting.ablate_tables import ablate_lines
from orchestrator.reporting.continuing import command_line
from orchestrator.reporting.figure_rows import speed_points
from orchestrator.reporting.live import Silent
from orchestrator.reporting.report import write_report
from orchestrator.run_dir import RunDir, write_json
from orchestrator.runners.base import Job, Objectives
from orchestrator.stages.ablate.plan import STAGE, AblatePlan
from orchestrator.stages.ablate.result import asked
from orchestrator.stages.ablate.rivals import read_rivals
from orchestrator.stages.ablate.run import plan_for
from orchestrator.stages.ablate.setup import plan_ablation
from orchestrator.stages.ablate.stage import Ablation
from orchestrator.stages.micro_batches import micro_batch
from orchestrator.stages.scale.stage import FamilyTraining
from orchestrator.tracking.tables import stage_files
from orchestrator.trial import Bundle, Report
from tests.controlled import carried_out
from tests.orchestrator.test_mistakes import mutated
from tests.simulated_ablate import LEARNER, START, WORTH, ablate_plan, learn
from tests.simulated_scale import LEARNER as SCALE_LEARNER
from tests.simulated_scale import scale_plan
from trainer.augment.presets import autoaugment_imagenet
from trainer.config import (
    DistillationConfig,
    EfficientNetConfig,
    MixConfig,
    ScheduleConfig,
    TrainConfig,
)
from trainer.errors import ConfigError
from trainer.models.baselines import baseline
from trainer.models.resnets import named_resnet
from trainer.resnet_config import BigLittle, DropBlock


def run(root: Path, plan: AblatePlan, *, objectives: Objectives = LEARNER) -> History:
    """To the end, or on from where the journal stands."""
    return carried_out(root, Ablation(plan), objectives)


def document(plan: AblatePlan, history: History) -> dict[str, Any]:
    return Ablation(plan).reduce(history)


def rows(plan: AblatePlan, root: Path) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in document(plan, run(root, plan))["results"]}


def test_each_step_is_compared_with_the_one_below_in_a_plain_word(tmp_path: Path) -> None:
    found = rows(ablate_plan(), tmp_path)
    assert [row["over"] for row in found.values()] == [None, "base", "label-smoothing", "mixup"]
    words = [row["verdict"] for row in found.values()]
    assert words == [None, "helps", "cannot tell", "hurts"]
    assert found["label-smoothing"]["gain"]["mean"] == pytest.approx(0.03, abs=0.01)
    assert "cannot tell with 3 seeds" in found["mixup"]["sentence"]
    assert all(row["seeds"] == [0, 1, 2] for row in found.values())
    for row in list(found.values())[1:]:
        assert row["gain"]["adjusted_p_value"] >= row["gain"]["p_value"]


def test_leaving_one_out_says_what_the_trick_is_worth_in_the_stack(tmp_path: Path) -> None:
    found = rows(ablate_plan(design="leave-one-out"), tmp_path)
    assert list(found) == [
        "all",
        *(f"without {n}" for n in ("label-smoothing", "mixup", "dropout")),
    ]
    assert {row["over"] for row in found.values()} == {None, "all"}
    verdicts = {name: row["verdict"] for name, row in found.items()}
    assert verdicts["without label-smoothing"] == "helps"
    assert verdicts["without dropout"] == "hurts"
    assert found["without dropout"]["gain"]["mean"] < 0
    assert "dropout" not in found["without dropout"]["tricks"]


def test_adding_one_compares_each_alone_with_the_base(tmp_path: Path) -> None:
    plan = ablate_plan(design="add-one")
    found = rows(plan, tmp_path)
    assert [rung.tricks for rung in plan.rungs] == [
        (),
        ("label-smoothing",),
        ("mixup",),
        ("dropout",),
    ]
    assert {row["over"] for row in found.values()} == {None, "base"}


def test_the_stack_of_one_trick_is_the_same_training_in_every_design() -> None:
    keys = [
        {ablate_plan("mixup", design=design).spec(rung, 0).key for rung in plan.rungs}
        for design in ("cumulative", "leave-one-out", "add-one")
        for plan in [ablate_plan("mixup", design=design)]  # type: ignore[arg-type]
    ]
    assert keys[0] == keys[1] == keys[2]


def test_rungs_that_are_the_same_are_trained_once(tmp_path: Path) -> None:
    plan = ablate_plan("mixup,epochs-2x", equal_epochs=True)
    assert [rung.train.epochs for rung in plan.rungs] == [8, 8, 8]
    history = run(tmp_path, plan)
    trained = [t for t in history.trials() if t.proposal["objective"] == "train-model"]
    assert len(trained) == 2 * 3
    result = document(plan, history)
    longer = result["results"][-1]
    assert (longer["verdict"], longer["same_as"], longer["gain"]) == ("the same", "mixup", None)
    assert "trained once" in longer["sentence"]
    assert result["plan"]["trials"] == len(list(history.trials()))


def test_no_gain_is_credited_to_a_trick_that_came_with_longer_training(tmp_path: Path) -> None:
    plan = ablate_plan("label-smoothing")
    base, rung = plan.rungs
    plan = replace(plan, rungs=(base, rung.with_(train=rung.train.with_(epochs=8))))
    result = document(plan, run(tmp_path, plan))
    row = result["results"][1]
    assert row["beside"] == ["8 epochs instead of 4"]
    assert "label-smoothing (not alone: 8 epochs instead of 4) helps" in row["sentence"]
    assert any("*" in line and "not the trick's alone" in line for line in ablate_lines(result))
    assert "label-smoothing*" in result["verdict"]["sentence"]


def test_what_takes_anothers_place_is_not_left_out_by_itself() -> None:
    plan = ablate_plan("se,mixup,sk", design="leave-one-out")
    assert [rung.name for rung in plan.rungs] == ["all", "without mixup", "without sk"]
    assert plan.by_name["without sk"].train.model.attention == "none"  # type: ignore[union-attr]
    assert any("se" in warning for warning in plan.warnings)
    ladder = ablate_plan("se,mixup,sk")
    assert ladder.rungs[-1].replaces == ("se",)
    assert ladder.rungs[-1].tricks == ("mixup", "sk")


def test_speeds_are_measured_last_and_one_at_a_time(tmp_path: Path) -> None:
    plan = ablate_plan("mixup,se,test-resolution")
    assert len(plan.timed) == 3  # mixup changes nothing at inference
    history = run(tmp_path, plan)
    events = [event for event, _ in read_events(RunDir(tmp_path / "run").journal)[0]]
    started = [e["key"] for e in events if e["event"] == "started"]
    kinds = [history[key].proposal["objective"] for key in started]
    assert kinds == ["train-model"] * 12 + ["measure-speed"]
    found = document(plan, history)
    assert found["speed"]["device"] == "a pretended one"
    by_name = {row["name"]: row["images_per_second"] for row in found["results"]}
    assert by_name["base"] == by_name["mixup"] > by_name["se"] > by_name["test-resolution"]
    assert len(Ablation(plan).propose(History(), count=9, seed=0)) == 9


def test_speeds_measured_on_a_busy_machine_are_said_to_be(tmp_path: Path) -> None:
    def kept_waiting(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
        for report in LEARNER["measure-speed"](job, should_stop):
            yield {**report, "cpu_share": 0.6}

    plan = ablate_plan("mixup,se")
    history = run(tmp_path, plan, objectives={**LEARNER, "measure-speed": kept_waiting})
    result = document(plan, history)
    assert result["speed"]["busy"]
    assert any("60" in line and "speed_again=1" in line for line in ablate_lines(result))
    again = replace(plan, speed_again=1)
    result = document(again, run(tmp_path, again))
    assert not result["speed"]["busy"]
    assert not any("speed_again" in line for line in ablate_lines(result))
    assert sum("speed of" in str(t.proposal["labels"]) for t in history.trials()) == 1


def with_room_for(images: int, *, where: str) -> Objectives:
    """A machine on which larger micro-batches run out of memory, on rungs that have this trick."""

    def objective(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
        config = job.spec.config
        assert isinstance(config, TrainConfig)
        if where in str(job.spec.labels["tricks"]) and micro_batch(config) > images:
            raise MemoryError("DefaultCPUAllocator: can't allocate memory")
        yield from learn(job, should_stop)

    return {**LEARNER, "train-model": objective}


def test_once_memory_has_run_out_the_rungs_to_come_see_smaller_micro_batches_too(
    tmp_path: Path,
) -> None:
    plan = ablate_plan("mixup,sk,dropout+epochs-2x")  # the largest is trained first
    history = run(tmp_path, plan, objectives=with_room_for(40, where="sk"))
    result = document(plan, history)
    assert [row["micro_batches"] for row in result["results"]] == [[32]] * 4
    assert all(row["status"] == Status.COMPLETE for row in result["results"])
    assert not any("micro-batches" in what for row in result["results"] for what in row["beside"])
    failed = [t for t in history.trials(STAGE) if t.status is Status.FAILED]
    assert {128 // trial.proposal["config"]["accumulate"] for trial in failed} == {128, 64}
    again = run(tmp_path, plan, objectives=with_room_for(40, where="sk"))
    assert len(list(again.trials())) == len(list(history.trials()))


def test_no_trick_is_credited_with_what_batch_norm_saw(tmp_path: Path) -> None:
    base_first = ablate_plan("mixup,sk", seeds=2)
    history = run(tmp_path, replace(base_first, rungs=base_first.rungs[:2]))
    assert len(list(history.trials(STAGE))) == 2 * 2 + 1
    history = run(tmp_path, base_first, objectives=with_room_for(40, where="sk"))
    result = document(base_first, history)
    assert [row["micro_batches"] for row in result["results"]] == [[128], [128], [32]]
    assert result["results"][2]["beside"] == ["micro-batches of 32 images instead of 128"]
    assert (
        "(not alone: micro-batches of 32 images instead of 128)"
        in (result["results"][2]["sentence"])
    )
    finished = {t.key for t in history.trials(STAGE) if t.status is Status.COMPLETE}
    assert {base_first.spec(r, s).key for r in base_first.rungs[:2] for s in (0, 1)} <= finished


def test_a_run_cut_anywhere_goes_on_to_the_same_end(tmp_path: Path) -> None:
    plan = ablate_plan("label-smoothing,mixup")
    whole = run(tmp_path / "whole", plan)
    lines = RunDir(tmp_path / "whole" / "run").journal.read_bytes().splitlines(keepends=True)
    for number in random.Random(0).sample(range(1, len(lines)), 6):
        root = tmp_path / f"cut-{number}"
        (root / "run").mkdir(parents=True)
        RunDir(root / "run").journal.write_bytes(b"".join(lines[:number]))
        resumed = run(root, plan)
        assert {t.key for t in resumed.trials()} == {t.key for t in whole.trials()}
        assert document(plan, resumed) == document(plan, whole)


def test_more_seeds_train_only_what_is_new(tmp_path: Path) -> None:
    plan = ablate_plan()
    whole = run(tmp_path, plan)
    more = Ablation(ablate_plan(seeds=4))
    assert {spec.labels["seed"] for spec in more.propose(whole, count=1, seed=0)} == {3}
    assert Ablation(plan).propose(whole, count=9, seed=0) == []


def test_a_trial_survives_the_journal() -> None:
    plan = ablate_plan("distillation,mixup")
    assert plan.speed_spec is not None
    for spec in [*(plan.spec(rung, 0) for rung in plan.rungs), plan.speed_spec]:
        assert decode_spec(json.loads(json.dumps(spec.to_json()))) == spec
    objectives = [plan.spec(rung, 0).objective for rung in plan.rungs]
    assert objectives == ["train-model", "distil-model", "distil-model"]


def failing(*names: str) -> Objectives:
    def objective(job: Job, should_stop: Callable[[], bool]) -> Iterator[Report]:
        if job.spec.labels["name"] in names:
            raise FloatingPointError("the loss became nan")
        yield from learn(job, should_stop)

    return {**LEARNER, "train-model": objective}


def test_a_rung_that_fails_leaves_the_others_standing(tmp_path: Path) -> None:
    plan = ablate_plan()
    result = document(plan, run(tmp_path, plan, objectives=failing("mixup")))
    found = {row["name"]: row for row in result["results"]}
    assert found["mixup"]["mean"] is None
    assert found["label-smoothing"]["verdict"] == "helps"
    assert found["dropout"]["verdict"] is None  # nothing is left to compare it with
    assert any("the loss became nan" in line for line in ablate_lines(result))


def test_an_ablation_of_which_nothing_is_left_says_why(tmp_path: Path) -> None:
    plan = ablate_plan("mixup")
    history = run(tmp_path, plan, objectives=failing("base", "mixup"))
    with pytest.raises(StageFailed, match="the loss became nan"):
        document(plan, history)


def test_one_seed_tells_nothing(tmp_path: Path) -> None:
    found = rows(ablate_plan(seeds=1), tmp_path)
    assert {row["verdict"] for row in found.values()} == {None, "cannot tell"}
    assert "with one seed" in found["mixup"]["sentence"]


def test_the_report_shows_figures_tables_and_how_to_go_on(tmp_path: Path) -> None:
    family, family_dir = scale_plan(phis="1"), RunDir(tmp_path / "family")
    trained = carried_out(tmp_path / "scale", FamilyTraining(family), SCALE_LEARNER)
    write_json(family_dir.description, {"version": 1, "command": "scale", "config": {}})
    write_json(family_dir.result("scale"), FamilyTraining(family).reduce(trained))
    rivals = read_rivals(str(family_dir.root), "f")
    assert [rival.name for rival in rivals] == [member.name for member in family.members]
    plan, run_dir = ablate_plan(rivals=rivals, rivals_from="family"), RunDir(tmp_path / "run")
    result = document(plan, run(tmp_path, plan))
    config = AblateConfig(tricks="label-smoothing,mixup,dropout", beside="family", runner="inline")
    write_json(run_dir.description, {"version": 1, "command": STAGE, "config": config.to_json()})
    write_json(run_dir.result(STAGE), result)
    text = write_report(run_dir).read_text()
    assert result["verdict"]["sentence"] in text
    assert "--tricks label-smoothing,mixup,dropout --beside family" in text
    assert "Holm" in text
    assert [found["rival"] for found in result["at_equal_accuracy"]] == [
        member.name for member in family.members
    ]
    assert all(found["sentence"] in text for found in result["at_equal_accuracy"])
    assert any(result["at_equal_accuracy"][0]["sentence"] in line for line in ablate_lines(result))
    assert "a pretended one, fp32, channels last" in text
    for name in ("ladder", "speed"):
        with Image.open(run_dir.figures / f"{name}.png") as image:
            assert min(image.size) > 200
    points = speed_points(result)
    assert [point.label for point in points if point.rival] == [m.name for m in family.members]
    kept = stage_files(run_dir, STAGE)  # what MLflow is given
    assert {"result.json", "results.csv", "figures/speed.png"} <= kept.keys()
    assert [model["name"] for model in result["models"]] == [rung.name for rung in plan.rungs]


def test_networks_judged_on_other_images_do_not_stand_beside(tmp_path: Path) -> None:
    family, family_dir = scale_plan(phis="1"), RunDir(tmp_path / "family")
    trained = carried_out(tmp_path / "scale", FamilyTraining(family), SCALE_LEARNER)
    write_json(family_dir.description, {"version": 1, "command": "scale", "config": {}})
    write_json(family_dir.result("scale"), FamilyTraining(family).reduce(trained))
    with pytest.raises(UsageError, match="other images"):
        read_rivals(str(family_dir.root), "another")


# Every trick by itself.

RESNET_ALONE = {
    *("stride-3x3", "deep-stem", "pooled-shortcut", "drop-block", "se", "sk"),
    *("anti-alias", "big-little"),
}


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_on_differs_from_it_off_and_is_undone(name: str) -> None:
    plan = ablate_plan(name) if name != "policy" else None
    if plan is None:
        with pytest.raises(ConfigError, match="--policy"):
            ablate_plan(name)
        return
    base, rung = plan.rungs
    assert base.train != rung.train
    assert plan.spec(base, 0).key != plan.spec(rung, 0).key  # else one would pass for the other
    assert TRICKS[name].off(rung.train, Means()) == base.train


USUAL, UNUSUAL = (
    TrickSettings(),
    TrickSettings(
        warmup_epochs=2.5,
        label_smoothing=0.2,
        mixup_alpha=0.3,
        cutmix_alpha=0.7,
        temperature=3.0,
        distillation_weight=0.5,
        t_squared=False,
        keep_prob=0.8,
        block_size=5,
        se_ratio=8,
        sk_ratio=4,
        alpha=4,
        beta=2,
        stochastic_depth=0.3,
        dropout=0.4,
        ema_decay=0.99,
        precision="fp16",
        test_resolution=48,
    ),
)
LAST_TWO = {"stages": (3, 4), "scales": (0.25, 1.0)}
TAUGHT = DistillationConfig(digest=unnamed_teacher(START.model).digest, model=START.model)
POLICY = autoaugment_imagenet()
SWITCHES: dict[str, tuple[Any, Any, Any]] = {  # off, on, on with the unusual settings
    "linear-lr": (True, False, False),
    "warmup": (0.0, 0.4, 2.5),  # a tenth of four epochs
    "zero-gamma": (False, True, True),
    "no-bias-decay": (True, False, False),
    "mixed-precision": ("fp32", "bf16", "fp16"),
    "stride-3x3": ("first-1x1", "3x3", "3x3"),
    "deep-stem": (False, True, True),
    "pooled-shortcut": ("conv", "pooled", "pooled"),
    "cosine": ("step", "cosine", "cosine"),
    "label-smoothing": (0.0, 0.1, 0.2),
    "mixup": (None, MixConfig(alpha=0.2), MixConfig(alpha=0.3)),
    "mixup-type1": (
        None,
        MixConfig(alpha=0.2, draw="sample"),
        MixConfig(alpha=0.3, draw="sample"),
    ),
    "cutmix": (
        None,
        MixConfig(kind="cutmix", alpha=1.0),
        MixConfig(kind="cutmix", alpha=0.7),
    ),
    "distillation": (
        None,
        TAUGHT,
        TAUGHT.with_(temperature=3.0, weight=0.5, t_squared=False),
    ),
    "drop-block": (
        None,
        DropBlock(keep_prob=0.9, block_size=3, **LAST_TWO),
        DropBlock(keep_prob=0.8, block_size=5, **LAST_TWO),
    ),
    "policy": (None, POLICY, POLICY),
    "ema": (0.0, 0.9999, 0.99),
    "test-resolution": (None, 40, 48),
    "se": ("none", "se", "se"),
    "sk": ("none", "sk", "sk"),
    "anti-alias": ("none", "conv", "conv"),
    "big-little": (None, BigLittle(alpha=2, beta=4), BigLittle(alpha=4, beta=2)),
    "stochastic-depth": (0.0, 0.1, 0.3),
    "dropout": (0.0, 0.2, 0.4),
}
RATIOS = {"model.se_ratio": 8, "model.sk_ratio": 4}


def changed(before: TrainConfig, after: TrainConfig) -> dict[str, Any]:
    """The fields that differ, by their paths, as they are afterwards."""
    found: dict[str, Any] = {}
    for field in fields(TrainConfig):
        one, other = getattr(before, field.name), getattr(after, field.name)
        if not is_dataclass(one) or type(one) is not type(other):
            found |= {field.name: other} if one != other else {}
            continue
        inner = {f.name: getattr(other, f.name) for f in fields(one)}
        found |= {f"{field.name}.{n}": v for n, v in inner.items() if v != getattr(one, n)}
    return found


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_sets_its_switch_as_the_settings_say_and_nothing_else(name: str) -> None:
    trick, (off, usual, unusual) = TRICKS[name], SWITCHES[name]
    means = Means(policy=POLICY, teacher=unnamed_teacher(START.model))
    base = trick.off(START, means)
    for settings, expected in ((USUAL, usual), (UNUSUAL, unusual)):
        on = trick.on(base, replace(means, settings=settings))
        found = changed(base, on)
        ratios = {path: found.pop(path) for path in RATIOS if path in found}
        assert found == {trick.switch: expected}
        assert ratios == (RATIOS if name in ("se", "sk") and settings is UNUSUAL else {})
        assert changed(on, trick.off(on, means)) == {trick.switch: off}


@pytest.mark.parametrize(("name", "epochs"), [("epochs-2x", 24), ("epochs-1.5x", 18)])
def test_longer_training_changes_the_epochs_and_where_the_rate_drops(
    name: str, epochs: int
) -> None:
    base = START.with_(epochs=12, schedule=ScheduleConfig(kind="step", step_epochs=3.0))
    found = changed(base, find_trick(name).on(base, Means()))
    assert found == {"epochs": epochs, "schedule.step_epochs": epochs / 4}


def test_without_a_cosine_the_rate_drops_after_each_quarter_unless_it_dropped_already() -> None:
    off = TRICKS["cosine"].off
    found = [off(START.with_(epochs=n), Means()).schedule.step_epochs for n in (40, 120)]
    assert found == [10.0, 30.0]
    dropping = START.with_(schedule=ScheduleConfig(kind="step", step_epochs=3.0))
    assert off(dropping, Means()) == dropping


def test_a_usual_warm_up_takes_five_epochs_where_they_are_no_more_than_a_tenth() -> None:
    on = TRICKS["warmup"].on
    found = [on(START.with_(epochs=n), Means()).schedule.warmup_epochs for n in (20, 50, 120)]
    assert found == [2.0, 5.0, 5.0]


def test_tricks_made_for_224_px_are_as_published_there() -> None:
    large = START.with_(model=named_resnet("resnet-50"))
    on = TRICKS["test-resolution"].on(TRICKS["drop-block"].on(large, Means()), Means())
    assert on.test_resolution == 256
    assert on.model.drop_block == DropBlock()  # type: ignore[union-attr]


@pytest.mark.parametrize("name", sorted(set(TRICKS) - {"policy", "distillation"}))
def test_on_an_efficientnet_a_trick_works_or_is_refused_with_the_reason(name: str) -> None:
    model = baseline("efficientnet-b0-small", num_classes=10)
    assert isinstance(model, EfficientNetConfig)
    on = TRICKS[name].on
    if name in RESNET_ALONE:
        with pytest.raises(ConfigError, match=f"tricks: {name}: an EfficientNet has"):
            on(START.with_(model=model), Means())
    else:
        assert isinstance(on(TrainConfig(model=model), Means()), TrainConfig)


def test_big_little_at_a_resolution_that_is_no_whole_stride_is_refused() -> None:
    from orchestrator.ablation.ladders import Step

    odd = START.with_(model=START.model.with_(resolution=36))
    steps = [Step(name="base"), Step(name="big-little", adds=(TRICKS["big-little"],))]
    with pytest.raises(ConfigError, match=r"big-little: .*multiple of 8.*got 36; try 32 or 40"):
        rungs_of(odd, steps, Means(), "cumulative")


def test_the_documentation_has_every_trick_with_its_switch_and_source() -> None:
    text = (Path(__file__).parents[2] / "docs" / "ablations.md").read_text(encoding="utf-8")
    whole = " ".join(text.split())
    for trick in TRICKS.values():
        assert f"**`{trick.name}`** sets `{trick.switch}`" in whole
        assert " ".join(trick.says.split()) in whole
        assert trick.source in whole


def test_simulated_tricks_are_real_ones() -> None:
    assert {name for name in WORTH if name not in TRICKS} == {"epochs-2x"}


# What is planned on the real digits.

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(command_line: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command line whose networks all train a thousand images a second, measured at once."""
    monkeypatch.setattr("trainer.probe.training_speed", lambda config, **options: 1000.0)
    return command_line


def test_the_defaults_suit_the_digits(call: Run) -> None:
    code, out, _ = call("ablate", "--dry-run", "--json")
    assert code == 0
    plan = json.loads(out)
    assert (plan["network"]["family"], plan["network"]["resolution"]) == ("resnet", 32)
    assert plan["network"]["macs"] < 20_000_000
    assert plan["rungs"][0]["name"] == "base"
    assert len(plan["rungs"]) == 9
    assert all(row["estimated_hours"] > 0 for row in plan["rungs"])
    assert plan["plan"]["trials"] > 3 * 8


@pytest.mark.parametrize(("gpus", "precision"), [(0, "bf16"), (1, "fp16")])
def test_a_recipes_own_average_comes_back_and_16_bits_suit_the_device(
    cache: Path, gpus: int, precision: str
) -> None:
    from trainer.data.cache import prepare

    plan, _ = plan_ablation(
        AblateConfig(tricks="ema,mixed-precision"),
        dataset="digits",
        decoded=prepare("digits", cache_root=cache),
        bundle=Bundle(gpus=gpus),
        teacher=None,
        only_plan=True,
    )
    found = [(rung.train.ema_decay, rung.train.execution.precision) for rung in plan.rungs]
    assert found == [(0.0, "fp32"), (0.95, "fp32"), (0.95, precision)]


def test_the_table_of_a_plan_is_for_people(call: Run) -> None:
    code, out, _ = call("ablate", "--tricks", "mixup+epochs-2x,se", "--dry-run")
    assert code == 0
    assert "own tricks: cumulative" in out
    assert "mixup + epochs-2x" in out


def test_a_test_resolution_that_is_the_networks_own_is_no_other_training(call: Run) -> None:
    tested = ("--tricks", "test-resolution", "--set", "settings.test_resolution=32")
    code, out, _ = call("ablate", *tested, "--dry-run", "--json")
    assert code == 0
    assert [row["same_as"] for row in json.loads(out)["rungs"]] == [None, "base"]


def test_a_papers_warm_up_does_not_fill_a_short_run(cache: Path) -> None:
    config = AblateConfig(
        preset="bag-of-tricks",
        network="resnet-50-small",
        epochs=8,
        cache_dir=str(cache),
    )
    plan, _, _ = plan_for(config, watcher=Silent(), only_plan=True)
    assert plan.by_name["linear-lr"].train.schedule.warmup_epochs == 0
    assert plan.by_name["warmup"].train.schedule.warmup_epochs == 2  # 5 of the paper's 120
    assert plan.by_name["mixup"].train.schedule.step_epochs == pytest.approx(8 / 4 * 13 / 8)


MISTAKES = {
    "batch norm of one image": (
        ["--tricks", "sk", "--set", "train.batch_size=8", "--set", "train.accumulate=5"],
        "tricks: sk",
        "two images at a time",
    ),
    "a setting that has no option": (["--width", "0.5"], "--width", "use --set width="),
    "a misspelt trick": (
        ["--tricks", "mixup,label-smooting"],
        "label-smooting",
        "label-smoothing'?",
    ),
    "a trick twice": (["--tricks", "mixup,mixup"], "mixup", "twice"),
    "no trick": (["--tricks", ","], "tricks", "at least one"),
    "two factors": (["--tricks", "epochs-2x,epochs-2.0x"], "tricks", "one factor"),
    "a plus too many": (["--tricks", "mixup+"], "'mixup+'", "beside '+'"),
    "spaces for commas": (["--tricks", "mixup sk"], "'mixup sk'", "by commas"),
    "two lists": (["--tricks", "mixup", "--tricks", "sk"], "--tricks", "one at a time"),
    "a setting that nothing reads": (
        ["--tricks", "mixup", "--set", "settings.temperature=3"],
        "settings.temperature",
        "it is of distillation",
    ),
    "a warm-up for ever": (
        ["--tricks", "warmup", "--set", "settings.warmup_epochs=50", "--epochs", "5"],
        "settings.warmup_epochs of 50",
        "use fewer",
    ),
    "an average of nothing": (
        ["--tricks", "ema", "--set", "settings.ema_decay=0"],
        "settings.ema_decay",
        "leave it out",
    ),
    "squares larger than any map": (
        ["--tricks", "drop-block", "--set", "settings.block_size=101"],
        "drop-block",
        "no square of a map",
    ),
    "a factor that is none": (["--tricks", "epochs-1x"], "epochs-1x", "longer"),
    "an unknown preset": (["--preset", "bag-of-trick"], "preset", "Did you mean 'bag-of-tricks'?"),
    "a preset with tricks": (
        ["--preset", "bag-of-tricks", "--tricks", "mixup"],
        "tricks",
        "leave out one",
    ),
    "an unknown design": (["--design", "cumulativ"], "design", "Did you mean 'cumulative'?"),
    "two designs": (["--design", "cumulative,add-one"], "design", "one at a time"),
    "two designs one after the other": (
        ["--design", "add-one", "--design", "leave-one-out"],
        "--design",
        "one at a time",
    ),
    "a trick that is set too": (
        ["--tricks", "label-smoothing", "--set", "train.label_smoothing=0.2"],
        "train.label_smoothing",
        "--tricks",
    ),
    "a teacher that is not there": (
        ["--tricks", "distillation", "--teacher", "./none"],
        "--teacher",
        "not there",
    ),
    "a teacher of nobody": (["--tricks", "mixup", "--teacher", "teacher"], "--teacher", "nobody"),
    "a teacher with other classes": (
        ["--tricks", "distillation", "--teacher", "teacher"],
        "7 classes, the data set has 10",
        "--teacher",
    ),
    "big-little at an odd side": (
        ["--tricks", "big-little", "--resolution", "34"],
        "multiple of 4",
        "try 32 or 36",
    ),
    "big-little at an odd side of the test": (
        ["--tricks", "big-little,test-resolution", "--set", "settings.test_resolution=37"],
        "test_resolution",
        "multiple of 4",
    ),
    "a trick that a basic block cannot have": (
        ["--tricks", "stride-3x3"],
        "stride-3x3",
        "basic block",
    ),
    "a trick that an efficientnet cannot have": (
        ["--tricks", "sk", "--network", "efficientnet-b0-small"],
        "sk",
        "EfficientNet",
    ),
    "what an efficientnet has already": (
        ["--tricks", "se", "--network", "efficientnet-b0-small"],
        "se",
        "already",
    ),
    "a ladder of another network": (
        ["--preset", "assemble-resnet", "--network", "efficientnet-b0"],
        "network",
        "--tricks",
    ),
    "an unknown network": (["--network", "resnet-51"], "network", "resnet-50"),
    "no policy": (["--tricks", "policy"], "policy", "--policy"),
    "an unknown setting": (
        ["--tricks", "mixup", "--set", "settings.mixup_alfa=1"],
        "mixup_alfa",
        "mixup_alpha",
    ),
    "a setting that cannot be": (
        ["--tricks", "mixup", "--set", "settings.mixup_alpha=-1"],
        "mixup: settings.mixup_alpha must be positive",
        "got -1.0",
    ),
    "a run beside that is none": (
        ["--tricks", "mixup", "--beside", "x"],
        "--beside",
        "no run.json",
    ),
    "a run beside of another command": (
        ["--tricks", "mixup", "--beside", "other"],
        "--beside",
        "belongs to 'search-augment'",
    ),
    "a run directory of another command": (
        ["--tricks", "mixup", "--run-dir", "other"],
        "belongs to 'search-augment'",
        "",
    ),
}


IMPOSSIBLE = {
    "warmup_epochs": -1.0,
    "label_smoothing": 1.5,
    "mixup_alpha": 0.0,
    "cutmix_alpha": 0.0,
    "keep_prob": 0.0,
    "block_size": 4,
    "se_ratio": 0,
    "sk_ratio": 0,
    "alpha": 0,
    "beta": 0,
    "stochastic_depth": 2.0,
    "dropout": 2.0,
    "ema_decay": 1.0,
    "test_resolution": 1,
}


@pytest.mark.parametrize("setting", IMPOSSIBLE)
def test_a_refused_setting_is_called_as_it_was_typed(setting: str) -> None:
    trick = next(trick for trick in TRICKS.values() if setting in trick.reads)
    means = Means(settings=TrickSettings(**{setting: IMPOSSIBLE[setting]}))
    base = TrainConfig(model=named_resnet("resnet-50", num_classes=10))
    steps = [Step(name="base"), Step(name="step", adds=(trick,))]
    with pytest.raises(ConfigError, match=rf"^tricks: {trick.name}: settings\.{setting}\b"):
        rungs_of(base, steps, means, "cumulative")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of seven classes, as scale leaves them."""
    from trainer.models.build import build
    from trainer.models.resnets import named_resnet
    from trainer.portable.files import PortableModel, write_model
    from trainer.portable.recipe import ModelRecipe
    from trainer.preprocessing import preprocessing

    model = named_resnet("resnet-20", num_classes=7, width="0.25")
    recipe = ModelRecipe(
        name="teacher",
        model=model,
        class_names=tuple("abcdefg"),
        preprocessing=preprocessing(32, crop_fraction=1.0),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )
    folder = tmp_path_factory.mktemp("teacher")
    write_model(folder, PortableModel(recipe=recipe, weights=build(model).state_dict()))
    return folder


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_that_names_it(
    call: Run, tmp_path: Path, teacher: Path, mistake: str
) -> None:
    write_json(
        tmp_path / "other" / "run.json",
        {"version": 1, "command": "search-augment", "config": {}},
    )
    (tmp_path / "teacher").symlink_to(teacher)
    before = sorted(tmp_path.rglob("*"))
    arguments, named, hint = MISTAKES[mistake]
    code, out, err = call("ablate", "--dry-run", *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert named in err
    assert hint in err
    assert sorted(tmp_path.rglob("*")) == before


def test_distillation_without_a_teacher_can_be_planned_but_not_run(
    call: Run, tmp_path: Path
) -> None:
    code, _, err = call("ablate", "--tricks", "distillation", "--dry-run")
    assert code == 0
    assert "still to be named" in err
    code, _, err = call("ablate", "--tricks", "distillation", "--run-dir", "run")
    assert (code, err.count("\n")) == (2, 1)
    assert not (tmp_path / "run").exists()


def test_every_option_sets_a_field_of_its_configuration() -> None:
    common = {field.name for field in fields(CommonConfig)}
    own = {field.name for field in fields(AblateConfig)} - common
    assert {option.name for option in ABLATE} == (
        own - {"width", "speed", "speed_again", "settings", "memory_per_trial"}
    )
    names = [option.name for option in OPTIONS["ablate"]]
    assert len(names) == len(set(names))


def test_a_run_is_gone_on_with_by_the_command_it_was_begun_with() -> None:
    config = AblateConfig(tricks="mixup", equal_epochs=True, settings={"mixup_alpha": 0.4})
    words = command_line({"command": STAGE, "config": config.to_json()}, "there")
    assert words[:4] == ["orchestrator", "ablate", "--run-dir", "there"]
    assert words[4:] == [
        *("--tricks", "mixup", "--equal-epochs"),
        *("--set", "settings.mixup_alpha=0.4"),
    ]


def test_a_plan_says_what_the_result_will_say(tmp_path: Path) -> None:
    plan = ablate_plan()
    head, result = asked(plan), document(plan, run(tmp_path, plan))
    assert {key: result[key] for key in head} == head


@pytest.mark.slow
def test_a_tiny_ladder_on_the_digits_from_end_to_end(call: Run, tmp_path: Path) -> None:
    small = ("--set", "network=resnet-20", "--set", "width=0.5", "--resolution", "16")
    run_line = (
        *("ablate", "--tricks", "mixup-type1,big-little", "--epochs", "1", "--seeds", "2"),
        *("--runner", "inline", "--run-dir", "run", "--json", *small),
    )
    code, out, _ = call(*run_line)
    assert code == 0
    result = json.loads(out)
    assert [row["name"] for row in result["results"]] == ["base", "mixup-type1", "big-little"]
    assert all(row["images_per_second"] > 0 for row in result["results"])
    model = str(tmp_path / "run" / result["models"][0]["path"])
    code, out, _ = call(
        *("ablate", "--tricks", "distillation", "--teacher", model, "--epochs", "1"),
        *("--seeds", "1", "--runner", "inline", "--run-dir", "taught", "--json", *small),
    )
    assert code == 0
    assert json.loads(out)["results"][1]["mean"] > 0.1
    code, out, _ = call(*run_line)  # everything is done
    assert code == 0
    assert json.loads(out) == result


LINE = [
    *("ablate", "--tricks", "mixup,se+epochs-2x,big-little,ema", "--design", "leave-one-out"),
    *("--epochs", "4", "--seeds", "2", "--seed", "1", "--network", "resnet-20", "--resolution"),
    *("16", "--policy", "cutout", "--equal-epochs", "--register", "ours", "--classes", "10"),
    *("--runner", "inline", "--set", "settings.mixup_alpha=0.4", "--set", "width=0.25"),
    *("--set", "train.optim.lr=0.1", "--set", "speed=false"),
]


def test_mutated_lines_of_an_ablation_leave_no_traceback(call: Run) -> None:
    rng, codes = random.Random(0), set()
    for _ in range(150):
        line = [*mutated(rng, LINE), "--dry-run"]
        code, _, err = call(*line)
        codes.add(code)
        assert code in (0, 2, 4), (line, err)
        if code:
            assert err.splitlines()[-1].startswith("error: "), (line, err)
    assert {0, 2} <= codes
