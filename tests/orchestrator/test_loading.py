import json
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.config.augment import SearchAugmentConfig
from orchestrator.config.common import CommonConfig
from orchestrator.config.scaling import SearchScalingConfig
from orchestrator.errors import UsageError
from orchestrator.loading import decode, decode_spec, load, overlay
from orchestrator.trial import Bundle, TrialSpec, trial_key
from tests.factories import TaskConfig
from trainer.config import (
    AugmentConfig,
    BlockStage,
    DataConfig,
    EfficientNetConfig,
    ExecutionConfig,
    OptimConfig,
    ScheduleConfig,
    TrainConfig,
    WideResNetConfig,
)
from trainer.errors import ConfigError
from trainer.models.baselines import baseline
from trainer.models.children import child
from trainer.strict import told

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = TrainConfig(model=baseline("efficientnet-b0-small", num_classes=10))
WIDE = TrainConfig(model=child("wrn-40-2", num_classes=10, resolution=32))

counts = st.integers(1, 10**9)
positive = st.floats(1e-300, 1e300)
parts = st.floats(0, 1, exclude_max=True)
inner = st.floats(0, 1, exclude_min=True, exclude_max=True)
ordered = st.tuples(inner, inner).map(lambda pair: (min(pair), max(pair)))

stages = st.builds(
    BlockStage,
    operator=st.sampled_from(["mbconv", "fused-mbconv"]),
    kernel=st.sampled_from([1, 3, 5, 7]),
    stride=st.sampled_from([1, 2]),
    expand=counts,
    channels=counts,
    repeats=counts,
)
efficientnets = st.builds(
    EfficientNetConfig,
    stem_channels=counts,
    stem_stride=st.sampled_from([1, 2]),
    stages=st.lists(stages, min_size=1, max_size=5).map(tuple),
    head_channels=counts,
    num_classes=st.integers(2, 10**6),
    resolution=st.integers(10**4, 10**5),
    dropout=parts,
    stochastic_depth=parts,
    norm_eps=positive,
    norm_momentum=positive,
    init=st.sampled_from(["tf", "torchvision"]),
)
wide_resnets = st.builds(
    WideResNetConfig,
    depth=counts.map(lambda blocks: 6 * blocks + 4),
    channels=st.tuples(counts, counts, counts),
    stem_channels=counts,
    num_classes=st.integers(2, 10**6),
    resolution=st.integers(4, 10**5),
    dropout=parts,
    norm_eps=positive,
    norm_momentum=positive,
)
train_configs = st.builds(
    TrainConfig,
    model=efficientnets | wide_resnets,
    data=st.builds(
        DataConfig,
        dataset=st.text(),
        selection_fraction=inner,
        reporting_fraction=inner,
        split_seed=st.integers(-(2**70), 2**70),
        train_images=counts,
        evaluate_on=st.sampled_from(["selection", "reporting"]),
    ),
    augment=st.builds(
        AugmentConfig,
        crop=st.sampled_from(["none", "pad", "random-resized"]),
        scale=ordered,
        ratio=ordered,
        flip=st.booleans(),
    ),
    optim=st.builds(OptimConfig, lr=positive, momentum=parts, weight_decay=positive),
    schedule=st.builds(ScheduleConfig, warmup_epochs=positive, step_epochs=positive),
    execution=st.builds(ExecutionConfig, channels_last=st.booleans(), threads=counts),
    epochs=counts,
    batch_size=st.integers(20, 10**6),
    accumulate=st.integers(1, 10),
    label_smoothing=parts,
    ema_decay=parts,
    seed=st.integers(-(2**70), 2**70),
)


@settings(max_examples=200, deadline=None)
@given(train_configs)
def test_a_configuration_comes_back_from_its_json_exactly(config: TrainConfig) -> None:
    again = decode(TrainConfig, json.loads(json.dumps(config.to_json())))
    assert again == config
    assert trial_key("train", again, fingerprint="x") == trial_key("train", config, fingerprint="x")


@pytest.mark.parametrize(
    ("config", "key"),
    [(SMALL, "5718afe61fc733f7"), (WIDE, "f082b990dfb391bd")],
    ids=["small", "wide"],
)
def test_the_name_of_a_piece_of_work_stays_what_it_was(config: TrainConfig, key: str) -> None:
    """Who changes this trains finished trials anew: raise `RECIPE_VERSION` and say so."""
    assert trial_key("train", config, fingerprint="x") == key


def test_what_is_off_does_not_enter_a_name() -> None:
    said = {"a": 0, "b": {"c": 0.0, "d": [None, False]}, "e": "", "f": True}
    off = {"new": None, "more": {"inner": False, "list": []}}
    assert told({**said, **off, "b": {**said["b"], **off}}) == said  # type: ignore[dict-item]


def test_a_run_configuration_comes_back_from_its_json_exactly() -> None:
    config = SearchScalingConfig(epochs=3, train={"optim": {"lr": 0.1}}, max_params="10M")
    assert decode(SearchScalingConfig, json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize("config", [SMALL, WIDE], ids=lambda config: config.model.family)
def test_a_specification_comes_back_from_its_journal_line_exactly(config: TrainConfig) -> None:
    spec = TrialSpec(
        key="k",
        stage="s",
        objective="train",
        config=config,
        labels={"alpha": 1.2, "name": None},
        milestones=(2, 4),
        resources=(Bundle(cpus=2, gpus=0.5), Bundle()),
    )
    line = json.dumps({"event": "proposed", "number": 0, **spec.to_json(), "t": 0.5})
    assert decode_spec(json.loads(line)) == spec


def test_the_objectives_of_others_bring_their_configuration_types() -> None:
    config = TaskConfig(name="a", epochs=2)
    spec = TrialSpec(key="k", stage="s", objective="task", config=config)
    assert decode_spec(spec.to_json(), {"task": TaskConfig}) == spec
    with pytest.raises(ConfigError, match="trial k: objective: unknown value 'task'; choose from"):
        decode_spec(spec.to_json())


def test_settings_win_over_options_and_options_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("epochs: 1\nseeds: 1\nworkers: 1\ntrain: {optim: {lr: 1, momentum: 0.5}}\n")
    config = load(
        SearchScalingConfig,
        file=file,
        options={"seeds": "2", "workers": "2", "classes": None},
        sets=["workers=3", "train.optim.lr=1e-3"],
    )
    assert (config.epochs, config.seeds, config.workers, config.seed) == (1, 2, 3, 0)
    recipe = overlay(SMALL, config.train, "train")
    assert recipe == SMALL.with_(optim=OptimConfig(lr=1e-3, momentum=0.5))


def test_a_text_means_what_its_field_says(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("dataset: no\nflops_budget: 2x\ntolerance: 0.10\nhalving: no\nrun_dir: ~\n")
    config = load(SearchScalingConfig, file=file, options={"run_dir": "1:30"}, sets=["dataset=010"])
    assert (config.dataset, config.tolerance, config.halving) == ("010", "0.10", False)
    assert config.run_dir == "1:30"
    assert load(SearchScalingConfig, file=file).dataset == "no"
    assert load(SearchScalingConfig, sets=["run_dir=null"]).run_dir is None


def test_numbers_of_a_notebook_are_taken_for_text_where_exactness_asks_for_it() -> None:
    config = load(SearchScalingConfig, options={"tolerance": 0.05, "grid_max": 2, "epochs": 3})
    assert (config.tolerance, config.grid_max, config.epochs) == ("0.05", "2", 3)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "train.optim.lrr=1",
            "--set train.optim.lrr: unknown key; choose from optimizer, lr, fixed_lr, "
            "momentum, weight_decay, decay_norm_and_bias, decay_bias, rmsprop_decay, rmsprop_eps. "
            "Did you mean 'lr'?",
        ),
        ("epochss=3", "--set epochss: unknown key; choose from dataset, run_dir"),
        ("train.optim.lr=fast", "--set train.optim.lr: expected a number, got 'fast'"),
        ("train.optim.lr=inf", "--set train.optim.lr: expected a number, got 'inf'"),
        ("train.optim=5", "--set train.optim: expected nested settings, got '5'"),
        ("train=5", "--set train: expected nested settings, got '5'"),
        ("train.augment.scale=[1]", "train.augment.scale: expected a list of 2 numbers, got ['1']"),
        ("train.augment.scale=[1, b]", "train.augment.scale.1: expected a number, got 'b'"),
        ("train.augment.flip=5", "train.augment.flip: expected true or false, got '5'"),
        ("epochs=3.5", "--set epochs: expected a whole number, got '3.5'"),
        ("epochs=0", "--set epochs must be between 1 and 1,000,000, got 0"),
        ("epochs=" + "9" * 5000, "--set epochs: expected a whole number, got '999"),
        (
            "runner=rey",
            "--set runner: unknown value 'rey'; choose from ray, inline. Did you mean 'ray'?",
        ),
        ("flops_budget=1", "--set flops_budget: '1' is not a budget"),
        ("epochs", "--set: expected key=value, such as train.optim.lr=0.05, got 'epochs'"),
        ("=3", "--set: expected key=value"),
        ("a..b=3", "--set: expected key=value"),
        ("a.b.c.d.e.f.g.h.i=3", "no setting is nested so deeply"),
        ("train.augment.scale=[1, {", "--set train.augment.scale: line 1, column"),
    ],
)
def test_a_wrong_setting_is_named_by_its_path(setting: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(SearchScalingConfig, sets=[setting])
    assert said in str(caught.value)


def test_an_error_is_named_in_the_words_of_the_place_that_said_it(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("grid_step: 0.05\ntrain: {optim: {lr: fast}}\n")
    with pytest.raises(UsageError, match=r"run\.yaml: train\.optim\.lr: expected a number"):
        load(SearchScalingConfig, file=file)
    with pytest.raises(UsageError, match=r"^--grid-step: 'x' is not a decimal number"):
        load(SearchScalingConfig, options={"grid_step": "x"})
    with pytest.raises(UsageError, match=r"^--flops-budget: '7' is not a budget"):
        load(SearchScalingConfig, options={"flops_budget": "7"})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"- a\n- b\n", "expected lines of 'key: value', got ['a', 'b']"),
        (b"epochs: [1\n", "line 2, column 1:"),
        (b"epochs: 1\nepochs: 2\n", "line 2, column 1: key 'epochs' stands twice"),
        (b"train.epochs: 1\n", "line 1, column 1: keys are single words, nested"),
        (b"? [a, b]\n: 1\n", "keys are single words"),
        (b"a: &x [1]\nb: *x\n", "line 2, column 4: aliases are not read"),
        (b"\xff\xfe\xff", "--config"),
        (b"dataset: \xe9\n", "--config"),
        (b"dataset: \x07\n", "--config"),
        (b"a: " + b"[" * 5000, "nested too deeply"),
        (b"#" * 300_000, "too large for a configuration (256 KiB)"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(
    tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "run.yaml"
    file.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load(SearchScalingConfig, file=file)
    assert str(caught.value).startswith(f"--config {file}: ")
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["missing.yaml", ".", "a\0b", "x" * 5000])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load(SearchScalingConfig, file=tmp_path / name)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    assert load(SearchScalingConfig, file=tmp_path / "empty.yaml") == SearchScalingConfig()


def test_an_overlay_names_values_that_do_not_go_together_by_path() -> None:
    with pytest.raises(UsageError, match=r"^train\.optim\.lr must be positive, got -1\.0"):
        overlay(SMALL, {"optim": {"lr": "-1"}}, "train")
    with pytest.raises(UsageError, match=r"^train\.model\.resolution: 8 px is below the network's"):
        overlay(SMALL, {"model": {"resolution": 8}}, "train")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"droput": 0.1},
            "train.model.droput: unknown key; choose from family, depth, channels, stem_channels, "
            "num_classes, resolution, dropout, norm_eps, norm_momentum. Did you mean 'dropout'?",
        ),
        ({"stages": []}, "train.model.stages: unknown key; choose from family, depth, channels"),
        ({"depth": "deep"}, "train.model.depth: expected a whole number, got 'deep'"),
        ({"depth": 41}, "train.model.depth must be 6n + 4 for n blocks in each group, got 41"),
        ({"channels": [16]}, "train.model.channels: expected a list of 3 whole numbers, got [16]"),
        ({"channels": [16, "b", 64]}, "train.model.channels.1: expected a whole number, got 'b'"),
        (
            {"family": "wide-resnt"},
            "train.model.family: unknown value 'wide-resnt'; choose from efficientnet, "
            "wide-resnet, resnet. Did you mean 'wide-resnet'?",
        ),
    ],
)
def test_a_model_is_read_by_its_family(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        overlay(WIDE, {"model": changes}, "train")
    assert str(caught.value).startswith(said)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"depth": 16}, "model.family: missing"),
        ({"family": "wide-resnet", "depth": 16}, "model.channels: missing"),
        ({"family": ["wide-resnet"]}, "model.family: unknown value '['wide-resnet']'; choose"),
        ("wrn-40-2", "model: expected nested settings, got 'wrn-40-2'"),
    ],
)
def test_a_model_without_its_family_or_its_keys_is_refused(model: Any, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        decode(TrainConfig, {"model": model})
    assert str(caught.value).startswith(said)


def test_an_overlay_keeps_the_family() -> None:
    deeper = overlay(WIDE, {"model": {"depth": "16", "channels": ["16", "32", "64"]}})
    assert deeper.model == child("wrn-16-1", num_classes=10, resolution=32)


def test_settings_of_a_model_are_checked_by_the_families_that_a_stage_trains() -> None:
    assert load(CommonConfig, sets=["train.model.depth=16"]).train["model"] == {"depth": "16"}
    with pytest.raises(UsageError, match=r"--set train\.model\.depth: expected a whole number"):
        load(CommonConfig, sets=["train.model.depth=deep"])
    with pytest.raises(UsageError, match=r"--set train\.model\.depth: unknown key; .* stem_stride"):
        load(SearchScalingConfig, sets=["train.model.depth=16"])


def test_an_overlay_of_nothing_changes_nothing() -> None:
    assert overlay(SMALL, {}) == SMALL


def recipes(command: str) -> list[Path]:
    return sorted(CONFIGS.glob(f"{command}-*.yaml"))


@pytest.mark.parametrize("path", recipes("search-augment"), ids=lambda path: path.stem)
def test_the_policy_searches_that_come_along_can_be_loaded(path: Path) -> None:
    config = load(SearchAugmentConfig, file=path)
    overlay(TrainConfig(model=child("wrn-40-2", num_classes=10, resolution=32)), config.train)


@pytest.mark.parametrize("path", recipes("search-scaling"), ids=lambda path: path.stem)
def test_the_recipes_that_come_along_can_be_loaded(path: Path) -> None:
    config = load(SearchScalingConfig, file=path)
    overlay(TrainConfig(model=baseline("efficientnet-b0", num_classes=10)), config.train, "train")
    assert config.baseline in (None, "efficientnet-b0")


names = st.sampled_from(
    [field.name for t in (SearchScalingConfig, TrainConfig, OptimConfig) for field in fields(t)]
) | st.text(max_size=5)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(names, inside, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(names, values, max_size=4))
def test_any_mapping_is_a_configuration_or_an_error_of_the_users(document: dict[str, Any]) -> None:
    with suppress(UsageError):
        config = load(SearchScalingConfig, options=document)
        overlay(SMALL, config.train, "train")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(max_size=30) | st.builds("{}={}".format, names, st.text()), max_size=3))
def test_any_settings_are_a_configuration_or_an_error_of_the_users(sets: list[str]) -> None:
    with suppress(UsageError):
        load(SearchScalingConfig, sets=sets)
