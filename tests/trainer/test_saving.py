from pathlib import Path

import pytest
import torch

from tests.trainer.factories import tiny_run
from trainer.checkpoint import Checkpointing, load_model, load_run
from trainer.config import EpochReport
from trainer.saving import DirectorySaver, History, Unsaved
from trainer.state import TrainingState

CONFIG = tiny_run()


def history(*top1: float) -> History:
    return tuple(
        EpochReport(
            epoch=epoch,
            train_loss=1.0,
            top1=value,
            top5=1.0,
            loss=1.0,
            lr=0.1,
            seconds=1.0,
            images_per_second=1.0,
        )
        for epoch, value in enumerate(top1, start=1)
    )


@pytest.fixture
def state() -> TrainingState:
    return TrainingState(CONFIG, device=torch.device("cpu"))


def saved_epochs(directory: Path) -> int:
    return len(load_run(directory / "last.pt", config=CONFIG).history)


def test_it_saves_again_only_after_the_configured_time(
    state: TrainingState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("trainer.saving.monotonic", lambda: now)
    saver = DirectorySaver(Checkpointing(directory=tmp_path, every_seconds=10), config=CONFIG)
    found = []
    for epoch, now in enumerate([9.0, 11.0, 20.0, 21.5], start=1):  # noqa: B007
        saver.after_epoch(state, history(*[0.5] * epoch), pausing=False)
        found.append(saved_epochs(tmp_path) if (tmp_path / "last.pt").exists() else 0)
    assert found == [0, 2, 2, 4]


def test_a_pause_is_always_saved(state: TrainingState, tmp_path: Path) -> None:
    saver = DirectorySaver(Checkpointing(directory=tmp_path, every_seconds=1e9), config=CONFIG)
    saver.after_epoch(state, history(0.1), pausing=False)
    assert not (tmp_path / "last.pt").exists()
    saver.after_epoch(state, history(0.1, 0.2), pausing=True)
    assert saved_epochs(tmp_path) == 2


def test_the_best_of_several_epochs_between_two_saves_is_the_one_kept(
    state: TrainingState, tmp_path: Path
) -> None:
    saver = DirectorySaver(Checkpointing(directory=tmp_path, every_seconds=1e9), config=CONFIG)
    weights = []
    for scores in ([0.1], [0.1, 0.4], [0.1, 0.4, 0.4], [0.1, 0.4, 0.4, 0.3]):
        with torch.no_grad():
            for parameter in state.evaluated.parameters():
                parameter.add_(1.0)
        weights.append(state.evaluated_weights()["features.0.0.weight"])
        saver.after_epoch(state, history(*scores), pausing=len(scores) == 4)
    best = load_model(tmp_path / "best.pt")
    assert (best.report.epoch, best.report.top1) == (2, 0.4)  # the first of equals
    assert torch.equal(best.weights["features.0.0.weight"], weights[1])


def test_a_resumed_run_does_not_put_a_worse_epoch_in_place_of_the_best(
    state: TrainingState, tmp_path: Path
) -> None:
    files = Checkpointing(directory=tmp_path, every_seconds=0)
    DirectorySaver(files, config=CONFIG).after_epoch(state, history(0.8), pausing=True)
    resumed = DirectorySaver(files, config=CONFIG)
    earlier = resumed.restore(state)
    resumed.after_epoch(state, (*earlier, *history(0.8, 0.6)[1:]), pausing=True)
    assert load_model(files.best).report.epoch == 1


def test_without_files_there_is_nothing_to_go_on_from(state: TrainingState) -> None:
    saver = Unsaved()
    saver.after_epoch(state, history(0.5), pausing=True)
    assert saver.restore(state) == ()


def test_a_damaged_checkpoint_is_set_aside_where_that_was_asked_for(
    state: TrainingState, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = Checkpointing(directory=tmp_path, damaged="set-aside")
    DirectorySaver(files, config=CONFIG).after_epoch(state, history(0.1), pausing=True)
    files.last.write_bytes(files.last.read_bytes()[:1000])
    assert DirectorySaver(files, config=CONFIG).restore(state) == ()
    assert files.set_aside.stat().st_size == 1000
    assert not files.last.exists()
    assert "last.pt: not a readable checkpoint" in caplog.text
