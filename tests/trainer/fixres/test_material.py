"""Features that are kept are those that would be computed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.trainer.fixres.factories import FAMILIES, adaptation, network
from trainer.data.batches import Batch
from trainer.data.splits import Splits
from trainer.errors import DiskFull
from trainer.fixres import features as features_module
from trainer.fixres.anatomy import dissect
from trainer.fixres.config import FixResConfig
from trainer.fixres.features import Storage, plan_features
from trainer.fixres.material import Kept, Passing, choose_material

CPU = torch.device("cpu")
IN_MEMORY = Storage()


def _material(
    config: FixResConfig, splits: Splits, model: nn.Module, storage: Storage = IN_MEMORY
) -> Kept | Passing:
    material = choose_material(
        model,
        config,
        train=splits.train,
        held_out=splits.selection,
        storage=storage,
        device=CPU,
    )
    assert isinstance(material, (Kept, Passing))
    list(material.prepare())
    return material


def _all(batches: Iterator[Batch]) -> tuple[torch.Tensor, torch.Tensor]:
    found = list(batches)
    assert max(len(batch.labels) for batch in found) == 16
    return torch.cat([b.images for b in found]), torch.cat([b.labels for b in found])


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("small", [False, True])
def test_kept_features_are_the_computed_ones_in_the_same_order(
    splits: Splits, family: str, flip: bool, small: bool
) -> None:
    config = adaptation(family, flip=flip, crop_fraction=0.8)
    model = network(config.source, splits)
    if small:  # there is room before the last convolution alone, or nowhere
        at_norm = plan_features(dissect(model), config, images=1, device=CPU)
        assert at_norm is not None
        views = len(splits.train) * (2 if flip else 1) + len(splits.selection)
        config = config.with_(cache_bytes=at_norm.bytes_for(views) - 1)
    kept = _material(config, splits, model)
    computed = _material(config.with_(cache_bytes=0), splits, model)
    assert isinstance(kept, Kept if not small or family == "efficientnet" else Passing)
    assert isinstance(computed, Passing)
    pairs = [(kept.epoch(2), computed.epoch(2)), (kept.held_out(), computed.held_out())]
    for ours, theirs in pairs:
        (maps, labels), (other_maps, other_labels) = _all(ours), _all(theirs)
        assert torch.equal(labels, other_labels)
        assert torch.allclose(maps, other_maps, rtol=2e-3, atol=2e-3)  # half precision


def test_a_file_holds_the_same_bits_and_leaves_nothing_behind(
    splits: Splits, tmp_path: Path
) -> None:
    config = adaptation(flip=True)
    model = network(config.source, splits)
    in_file = _material(config, splits, model, Storage(memory_bytes=0, scratch=tmp_path))
    assert list(tmp_path.iterdir()) == []
    in_memory = _material(config, splits, model)
    assert torch.equal(_all(in_file.epoch(1))[0], _all(in_memory.epoch(1))[0])


def test_a_full_disk_is_said_before_the_work(
    splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(features_module.os, "posix_fallocate", full)
    config = adaptation()
    with pytest.raises(DiskFull, match="no room for 0 MiB of features"):
        _material(
            config,
            splits,
            network(config.source, splits),
            Storage(memory_bytes=0, scratch=tmp_path),
        )


def test_v2_is_computed_anew_in_every_epoch(splits: Splits) -> None:
    config = adaptation(augmentation="v2", crop_fraction=0.8)
    material = _material(config, splits, network(config.source, splits))
    assert isinstance(material, Passing)
    first, again, second = (_all(material.epoch(epoch))[0] for epoch in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_an_epoch_leaves_out_an_incomplete_batch_and_changes_the_order(splits: Splits) -> None:
    config = adaptation(batch_size=20)
    material = _material(config, splits, network(config.source, splits))
    orders = []
    for epoch in (1, 2):
        batches = list(material.epoch(epoch))
        assert [len(batch.labels) for batch in batches] == [20, 20]
        orders.append(torch.cat([batch.labels for batch in batches]).tolist())
    assert orders[0] != orders[1]


def test_features_beyond_half_precision_are_cut_rather_than_infinite(splits: Splits) -> None:
    config = adaptation("wide-resnet")
    model = network(config.source, splits)
    with torch.no_grad():
        model.get_parameter("group3.0.conv2.weight").mul_(1e7)
    maps, _ = _all(_material(config, splits, model).epoch(1))
    assert maps.isfinite().all()
    assert maps.abs().max() == features_module.LARGEST
