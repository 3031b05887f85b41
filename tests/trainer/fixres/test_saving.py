from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.trainer.factories import timeless
from tests.trainer.fixres.factories import adaptation, adapted, changed, network
from trainer.checkpoint import Checkpointing, load_run
from trainer.config import EpochReport
from trainer.data.splits import Splits
from trainer.errors import CheckpointError
from trainer.fit import Beat
from trainer.fixres.adapt import fixres
from trainer.fixres.saving import adapted_model


def _first(reports: Iterable[EpochReport | Beat], count: int) -> list[EpochReport]:
    found: list[EpochReport] = []
    for report in reports:
        if isinstance(report, EpochReport):
            found.append(report)
        if len(found) == count:
            break
    return found


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("done", [1, 2, 3])
def test_resumed_equals_uninterrupted(
    splits: Splits, tmp_path: Path, done: int, kept: bool
) -> None:
    config = adaptation(affine=True, cache_bytes=2**32 if kept else 0)
    whole, reports = adapted(config, splits)
    files = Checkpointing(directory=tmp_path, every_seconds=0)
    half = network(config.source, splits)
    run = fixres(config, half, splits, checkpoint=files)
    assert timeless(_first(run, done)) == reports[:done]
    run.close()
    resumed, rest = adapted(config, splits, checkpoint=files, known_reports=done)
    assert rest == reports[done:]
    assert changed(whole.state_dict(), resumed.state_dict()) == set()


@pytest.mark.parametrize("kind", ["none", "parametric", "statistics", "finetune"])
def test_a_finished_run_is_read_back(splits: Splits, tmp_path: Path, kind: str) -> None:
    config = adaptation("wide-resnet", adaptation=kind)
    files = Checkpointing(directory=tmp_path)
    model, reports = adapted(config, splits, checkpoint=files)
    images = torch.randn(4, 3, 24, 24)

    def logits(net: nn.Module) -> Tensor:
        with torch.inference_mode():
            return net(images)

    assert torch.equal(logits(adapted_model(tmp_path, config)), logits(model))
    again, same = adapted(config, splits, checkpoint=files)
    assert same == reports
    assert torch.equal(logits(again), logits(model))


def test_the_checkpoint_carries_its_test_resolution(splits: Splits, tmp_path: Path) -> None:
    config = adaptation(adaptation="statistics")
    adapted(config, splits, checkpoint=Checkpointing(directory=tmp_path))
    with pytest.raises(CheckpointError, match="test_resolution is 24 there, 32 here"):
        load_run(tmp_path / "last.pt", config=config.with_(test_resolution=32))
    with pytest.raises(CheckpointError, match="another configuration"):
        load_run(tmp_path / "last.pt", config=config.source)


def test_a_data_set_may_have_moved(splits: Splits, tmp_path: Path) -> None:
    config = adaptation(adaptation="none")
    adapted(config, splits, checkpoint=Checkpointing(directory=tmp_path))
    moved = config.source.data.with_(dataset="elsewhere/digits")
    config = config.with_(source=config.source.with_(data=moved))
    assert len(load_run(tmp_path / "last.pt", config=config).history) == 1


def test_an_unfinished_run_has_no_model(splits: Splits, tmp_path: Path) -> None:
    config = adaptation()
    files = Checkpointing(directory=tmp_path, every_seconds=0)
    run = fixres(config, network(config.source, splits), splits, checkpoint=files)
    _first(run, 2)
    run.close()
    with pytest.raises(CheckpointError, match="2 of 4 reports"):
        adapted_model(tmp_path, config)


def test_a_damaged_checkpoint_is_set_aside_where_that_was_asked_for(
    splits: Splits, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "last.pt").write_bytes(b"rubbish")
    config = adaptation(adaptation="none")
    refusing = Checkpointing(directory=tmp_path)
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        adapted(config, splits, checkpoint=refusing)
    adapted(config, splits, checkpoint=Checkpointing(directory=tmp_path, damaged="set-aside"))
    assert "begun anew" in caplog.text
    assert refusing.set_aside.read_bytes() == b"rubbish"
