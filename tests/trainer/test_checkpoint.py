import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer.factories import tiny_run
from trainer import checkpoint
from trainer.checkpoint import (
    Checkpointing,
    load_model,
    load_run,
    remove_leftovers,
    save_model,
    save_run,
)
from trainer.config import EpochReport
from trainer.errors import CheckpointError, DiskFull

REPORT = EpochReport(
    epoch=1,
    train_loss=1 / 3,
    top1=0.1,
    top5=0.5,
    loss=2.3,
    lr=0.1,
    seconds=1.0,
    images_per_second=100.0,
    recall=(0.1, 0.9),
)
STATE = {"weights": torch.arange(1000.0), "steps": 7, "average": None}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "last.pt"
    save_run(path, STATE, config=tiny_run(), history=(REPORT,))
    return path


def test_a_run_comes_back_as_it_was_saved(saved: Path) -> None:
    found = load_run(saved, config=tiny_run())
    assert found.history == (REPORT,)
    assert torch.equal(found.state["weights"], STATE["weights"])
    assert (found.state["steps"], found.state["average"]) == (7, None)


def test_a_model_comes_back_with_its_configuration_and_its_report(tmp_path: Path) -> None:
    path = tmp_path / "new" / "best.pt"
    save_model(path, {"w": torch.ones(2)}, config=tiny_run(), report=REPORT)
    found = load_model(path)
    assert torch.equal(found.weights["w"], torch.ones(2))
    assert (found.config, found.report) == (tiny_run().to_json(), REPORT)


class Hostile:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.victim,)


@pytest.mark.parametrize("load", [load_model, lambda path: load_run(path, config=tiny_run())])
@pytest.mark.parametrize("as_zip", [True, False])
def test_a_hostile_file_is_refused_and_runs_nothing(
    load: Callable[[Path], object], as_zip: bool, tmp_path: Path
) -> None:
    path, victim = tmp_path / "best.pt", tmp_path / "victim"
    content = {"format": checkpoint.FORMAT, "kind": "model", "weights": Hostile(victim)}
    torch.save(content, path, _use_new_zipfile_serialization=as_zip)
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load(path)
    assert not victim.exists()


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(part: float, saved: Path) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        load_run(saved, config=tiny_run())


def test_a_single_changed_weight_is_noticed(saved: Path) -> None:
    content = bytearray(saved.read_bytes())
    place = content.index(STATE["weights"].numpy().tobytes())
    content[place + 41] ^= 1
    saved.write_bytes(content)
    with pytest.raises(CheckpointError, match="wrong checksum"):
        load_run(saved, config=tiny_run())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "not a checkpoint of format"),
        ({"weights": torch.ones(1)}, "not a checkpoint of format"),
        ({"format": 99}, "not a checkpoint of format"),
        ({"format": checkpoint.FORMAT, "kind": "model"}, "a model checkpoint, a run is needed"),
        ({"format": checkpoint.FORMAT, "kind": "run", "state": {}}, "without config, history"),
    ],
)
def test_a_file_that_torch_can_read_but_is_not_ours_is_refused(
    content: object, message: str, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match=message):
        load_run(tmp_path / "last.pt", config=tiny_run())


def test_a_missing_file_is_a_checkpoint_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        load_model(tmp_path / "best.pt")


def test_the_first_difference_of_configurations_is_named_by_its_path(saved: Path) -> None:
    config = tiny_run()
    stem, *others = config.model.stages
    changed = config.model.with_(stages=(stem.with_(kernel=5), *others))
    with pytest.raises(CheckpointError, match=r"model.stages\[0\].kernel is 3 there, 5 here"):
        load_run(saved, config=config.with_(model=changed))
    with pytest.raises(CheckpointError, match=r"optim.lr is 0.5 there, 0.2 here"):
        load_run(saved, config=config.with_(optim=config.optim.with_(lr=0.2)))


def test_a_data_set_may_have_moved(saved: Path) -> None:
    config = tiny_run()
    moved = config.with_(data=config.data.with_(dataset="elsewhere/digits"))
    assert load_run(saved, config=moved).history == (REPORT,)


def test_another_recipe_does_not_go_on(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "RECIPE_VERSION", 99)
    with pytest.raises(CheckpointError, match="recipe 1, this is recipe 99"):
        load_run(saved, config=tiny_run())


def test_a_full_disk_leaves_the_previous_checkpoint_and_no_rubbish(saved: Path) -> None:
    before = saved.read_bytes()
    saved.with_name("last.pt.attempt-2.tmp").symlink_to("/dev/full")
    with pytest.raises(DiskFull, match=r"last.pt: .*No space left on device") as caught:
        save_run(saved, STATE, config=tiny_run(), history=(), attempt=2)
    assert "\n" not in str(caught.value)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_an_attempt_clears_what_earlier_ones_left_and_nothing_else(tmp_path: Path) -> None:
    for name in ("last.pt", "last.pt.attempt-1.tmp", "best.pt.attempt-2.tmp", "x.attempt-3.tmp"):
        (tmp_path / name).touch()
    remove_leftovers(Checkpointing(directory=tmp_path, attempt=3))
    assert {path.name for path in tmp_path.iterdir()} == {"last.pt", "x.attempt-3.tmp"}


def test_the_configuration_inside_is_json(saved: Path) -> None:
    content = torch.load(saved, weights_only=True)
    assert json.loads(content["config"]) == tiny_run().to_json()
