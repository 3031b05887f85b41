import itertools
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import torch

from tests.trainer.factories import timeless, tiny_model, tiny_run, tiny_wide_resnet
from trainer.augment.policy import Operation, Policy, PolicySchedule, Segment, SubPolicy
from trainer.checkpoint import Checkpointing, load_model
from trainer.config import (
    AugmentConfig,
    EpochReport,
    ExecutionConfig,
    OptimConfig,
    ScheduleConfig,
    TrainConfig,
)
from trainer.data.splits import Splits
from trainer.errors import CheckpointError, TrainingDiverged
from trainer.fit import Beat, fit
from trainer.state import TrainingState

VARIANTS = {
    "everything on": tiny_run(),
    "nothing on": tiny_run(
        model=tiny_model(dropout=0.0, stochastic_depth=0.0), accumulate=1, ema_decay=0.0
    ),
    "rmsprop": tiny_run(
        optim=OptimConfig(optimizer="rmsprop", lr=0.05),
        schedule=ScheduleConfig(kind="exponential", warmup_epochs=1),
    ),
    "fp16": tiny_run(execution=ExecutionConfig(precision="fp16")),
    "wide resnet": tiny_run(model=tiny_wide_resnet(dropout=0.3)),
}


class StopAt:
    """Answers true from a given question on, and counts the questions."""

    def __init__(self, count: int) -> None:
        self.count, self.asked = count, 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.asked >= self.count


def every_epoch(directory: Path, **options: object) -> Checkpointing:
    return Checkpointing(directory=directory, every_seconds=0, **options)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
def test_a_run_stopped_anywhere_goes_on_as_if_it_had_not_been(
    config: TrainConfig, splits: Splits, tmp_path: Path
) -> None:
    whole = timeless(fit(config, splits))
    for stop in (2, 9, 15):  # in the first epoch, while evaluating, in the second epoch
        files = every_epoch(tmp_path / str(stop))
        first = timeless(fit(config, splits, checkpoint=files, should_stop=StopAt(stop)))
        rest = timeless(fit(config, splits, checkpoint=files, known_epochs=len(first)))
        assert len(first) < 3
        assert first + rest == whole


@pytest.mark.parametrize("family", ["everything on", "wide resnet"])
def test_the_same_seed_trains_the_same_network_and_another_seed_another(
    family: str, splits: Splits, tmp_path: Path
) -> None:
    found = []
    for run, seed in enumerate((1, 1, 2)):
        config = VARIANTS[family].with_(epochs=2, seed=seed)
        files = Checkpointing(directory=tmp_path / str(run))
        reports = timeless(fit(config, splits, checkpoint=files))
        found.append((reports, load_model(files.best).weights))
    (reports, weights), (same_reports, same_weights), (other_reports, _) = found
    assert same_reports == reports != other_reports
    assert all(torch.equal(same_weights[name], weight) for name, weight in weights.items())


def test_dropping_the_generator_at_a_report_loses_nothing(splits: Splits, tmp_path: Path) -> None:
    config, files = tiny_run(), every_epoch(tmp_path)
    found: list[EpochReport] = []
    while len(found) < config.epochs:
        with closing(fit(config, splits, checkpoint=files, known_epochs=len(found))) as reports:
            found += timeless([next(reports)])
    assert found == timeless(fit(config, splits))


def test_a_paused_run_keeps_the_horizon_of_its_schedule(splits: Splits, tmp_path: Path) -> None:
    config = tiny_run(epochs=4)
    rarely = Checkpointing(directory=tmp_path, every_seconds=1e9)
    rungs = [
        timeless(fit(config, splits, checkpoint=rarely, known_epochs=known, stop_after=until))
        for known, until in [(0, 1), (1, 2), (2, None)]
    ]
    assert [len(rung) for rung in rungs] == [1, 1, 2]
    assert list(itertools.chain(*rungs)) == timeless(fit(config, splits))


@pytest.mark.parametrize(
    ("known", "until", "expected"),
    [(0, None, [1, 2, 3]), (1, None, [2, 3]), (1, 2, [2]), (3, None, []), (2, 1, [])],
)
def test_what_was_trained_already_is_told_again_and_not_trained_again(
    known: int, until: int | None, expected: list[int], splits: Splits, tmp_path: Path
) -> None:
    config, files = tiny_run(), every_epoch(tmp_path)
    whole = list(fit(config, splits, checkpoint=files))
    never = StopAt(1)
    again = fit(
        config,
        splits,
        checkpoint=files,
        known_epochs=known,
        stop_after=until,
        should_stop=never,
    )
    assert list(again) == [whole[epoch - 1] for epoch in expected]  # with the seconds of then
    assert never.asked == 0


def test_a_caller_that_knows_more_than_the_checkpoint_hears_only_news(
    splits: Splits, tmp_path: Path
) -> None:
    config, files = tiny_run(), every_epoch(tmp_path)
    whole = timeless(fit(config, splits))
    timeless(fit(config, splits, checkpoint=files, stop_after=1))
    assert timeless(fit(config, splits, checkpoint=files, known_epochs=2)) == whole[2:]


def test_a_stop_is_heeded_before_the_next_batch(
    splits: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    step = TrainingState.step
    monkeypatch.setattr(TrainingState, "step", lambda *a, **k: steps.append(1) or step(*a, **k))
    assert list(fit(tiny_run(), splits, should_stop=StopAt(3))) == []
    assert len(steps) == 2


def test_runs_that_take_turns_in_one_process_do_not_disturb_each_other(splits: Splits) -> None:
    configs = [tiny_run(seed=seed) for seed in (1, 2)]
    alone = [timeless(fit(config, splits)) for config in configs]
    turns = zip(*(fit(config, splits, beat_seconds=0) for config in configs), strict=True)
    together = [timeless(reports) for reports in zip(*turns, strict=True)]
    assert together == alone
    assert alone[0] != alone[1]


def test_beats_count_the_steps_and_go_on_through_the_evaluation(splits: Splits) -> None:
    items = list(fit(tiny_run(epochs=2), splits, beat_seconds=0))
    epochs = [item.epoch for item in items if isinstance(item, EpochReport)]
    beats = [(item.epoch, item.step) for item in items if isinstance(item, Beat)]
    evaluation = -(-len(splits.selection) // 8)
    assert epochs == [1, 2]
    assert beats == [
        (epoch, step) for epoch in (1, 2) for step in (1, 2, 3, *itertools.repeat(3, evaluation))
    ]
    assert all(item.images_per_second > 0 for item in items)


def test_no_beat_comes_before_its_time(splits: Splits) -> None:
    assert not any(isinstance(item, Beat) for item in fit(tiny_run(epochs=1), splits))


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_a_run_away_loss_is_named_with_its_epoch_and_step(optimizer: str, splits: Splits) -> None:
    config = tiny_run(optim=OptimConfig(optimizer=optimizer, lr=1e30), ema_decay=0.0)
    with pytest.raises(TrainingDiverged) as caught:
        list(fit(config, splits))
    assert caught.value.epoch == 1
    assert 2 <= caught.value.step <= 3


def test_a_tiny_network_learns_its_training_images(splits: Splits) -> None:
    config = tiny_run(
        model=tiny_model(head_channels=64, dropout=0.0, stochastic_depth=0.0),
        epochs=30,
        accumulate=1,
        label_smoothing=0.0,
        ema_decay=0.0,
        optim=OptimConfig(lr=4.0),
        augment=tiny_run().augment.with_(crop="none"),
    )
    *_, last = fit(config, splits)
    assert isinstance(last, EpochReport)
    assert last.train_loss < 0.1
    assert last.top1 > 0.5  # chance is 0.1


def test_the_best_weights_are_kept_and_give_the_score_they_are_kept_for(
    splits: Splits, tmp_path: Path
) -> None:
    config, files = tiny_run(), Checkpointing(directory=tmp_path)
    reports = timeless(fit(config, splits, checkpoint=files))
    best = load_model(files.best)
    assert timeless([best.report]) == [max(reports, key=lambda report: report.top1)]
    assert best.config == config.to_json()


@pytest.mark.parametrize(
    ("keep", "files"),
    [
        ("best-and-last", {"best.pt", "last.pt"}),
        ("all", {"best.pt", "last.pt", "epoch-0001.pt", "epoch-0002.pt", "epoch-0003.pt"}),
        ("none", set()),
    ],
)
def test_what_is_kept_of_a_finished_run(
    keep: str, files: set[str], splits: Splits, tmp_path: Path
) -> None:
    list(fit(tiny_run(), splits, checkpoint=every_epoch(tmp_path, keep=keep)))
    assert {path.name for path in tmp_path.iterdir()} == files


def test_keeping_nothing_still_keeps_what_an_unfinished_run_needs(
    splits: Splits, tmp_path: Path
) -> None:
    files = every_epoch(tmp_path, keep="none")
    first = timeless(fit(tiny_run(), splits, checkpoint=files, stop_after=2))
    rest = timeless(fit(tiny_run(), splits, checkpoint=files, known_epochs=2))
    assert first + rest == timeless(fit(tiny_run(), splits))


def test_another_configuration_does_not_go_on_from_the_checkpoint(
    splits: Splits, tmp_path: Path
) -> None:
    files = every_epoch(tmp_path)
    list(fit(tiny_run(epochs=1), splits, checkpoint=files))
    with pytest.raises(CheckpointError, match=r"epochs is 1 there, 2 here"):
        list(fit(tiny_run(epochs=2), splits, checkpoint=files))


def rotated(degrees: float) -> Policy:
    turn = Operation(name="rotate", magnitude=degrees)
    return Policy(name=f"{degrees}", sub_policies=(SubPolicy(operations=(turn,)),))


def scheduled(*degrees: float) -> TrainConfig:
    """Another rotation in each of three epochs."""
    segments = tuple(Segment(epochs=1, policy=rotated(angle)) for angle in degrees)
    schedule = PolicySchedule(name="turning", segments=segments)
    return tiny_run(augment=AugmentConfig(flip=False, policy=schedule))


def test_a_schedule_gives_each_epoch_its_policy(splits: Splits) -> None:
    whole, other = scheduled(0, 10, 20), scheduled(0, 10, 30)
    assert timeless(fit(whole, splits))[:2] == timeless(fit(other, splits))[:2]
    assert timeless(fit(whole, splits))[2] != timeless(fit(other, splits))[2]
    steady = tiny_run(augment=AugmentConfig(flip=False, policy=rotated(0)))
    assert timeless(fit(whole, splits))[0] == timeless(fit(steady, splits))[0]


def test_a_schedule_is_stretched_to_the_epochs_of_the_run(splits: Splits) -> None:
    short, long = scheduled(0, 10, 20), scheduled(0, 0, 10, 10, 20, 20)
    runs = [timeless(fit(config.with_(epochs=6), splits)) for config in (short, long)]
    assert runs[0] == runs[1]


def test_a_child_goes_on_from_its_parent_as_if_it_had_trained_all_epochs(
    splits: Splits, tmp_path: Path
) -> None:
    parent, child = scheduled(5, 10, 10), scheduled(5, 20, 20)
    files = every_epoch(tmp_path / "parent")
    list(fit(parent, splits, checkpoint=files, stop_after=1))
    heir = every_epoch(tmp_path / "child", parent=files.last)
    questions = StopAt(1000)
    inherited = fit(child, splits, checkpoint=heir, known_epochs=1, should_stop=questions)
    assert timeless(inherited) == timeless(fit(child, splits))[1:]
    alone = StopAt(1000)
    timeless(fit(child, splits, should_stop=alone))
    assert questions.asked < alone.asked  # the first epoch was not trained again


def test_what_is_no_parent_costs_time_and_nothing_else(splits: Splits, tmp_path: Path) -> None:
    child = scheduled(5, 20, 20)
    whole = timeless(fit(child, splits))
    other = every_epoch(tmp_path / "other")
    list(fit(scheduled(6, 20, 20), splits, checkpoint=other, stop_after=1))
    ended = every_epoch(tmp_path / "ended")
    list(fit(child, splits, checkpoint=ended))
    for name, parent in (("other", other.last), ("none", tmp_path / "no"), ("end", ended.last)):
        heir = every_epoch(tmp_path / f"heir of {name}", parent=parent)
        found = timeless(fit(child, splits, checkpoint=heir, known_epochs=1))
        assert found == whole[1:]


def test_details_come_with_the_last_epoch_alone(splits: Splits) -> None:
    first, _, last = timeless(fit(tiny_run(), splits))
    assert (first.recall, first.correct) == ((), "")
    assert len(last.recall) == 10
    bits = f"{int(last.correct, 16):0{len(last.correct) * 4}b}"
    assert bits.count("1") == round(last.top1 * last.num_images)
    assert first.num_images == last.num_images == len(splits.selection)


def test_the_reporting_split_is_evaluated_when_asked_for(splits: Splits) -> None:
    config = tiny_run(epochs=1)
    reporting = config.with_(data=config.data.with_(evaluate_on="reporting"))
    (selected,), (reported,) = timeless(fit(config, splits)), timeless(fit(reporting, splits))
    assert selected.train_loss == reported.train_loss
    assert selected.loss != reported.loss


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {'ray', 'optuna', 'mlflow', 'matplotlib', 'pydantic'}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
from pathlib import Path
from tests.trainer.factories import TINY_DATA, tiny_run
from trainer.data.cache import prepare
from trainer.data.splits import carve
from trainer.fit import fit
splits = carve(prepare('digits', cache_root=Path(sys.argv[1])), TINY_DATA)
print(len(list(fit(tiny_run(), splits))))
"""


def test_training_needs_no_tuner_tracker_or_plotter(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", BLOCKED, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("3\n", 0), done.stderr


@pytest.mark.gpu
def test_on_a_gpu_a_stopped_run_goes_on_as_if_it_had_not_been(
    splits: Splits, tmp_path: Path
) -> None:
    config = tiny_run(execution=ExecutionConfig(precision="bf16"))
    device, files = torch.device("cuda"), every_epoch(tmp_path)
    whole = timeless(fit(config, splits, device=device))
    first = timeless(fit(config, splits, device=device, checkpoint=files, should_stop=StopAt(15)))
    rest = timeless(fit(config, splits, device=device, checkpoint=files, known_epochs=len(first)))
    assert first + rest == whole
