from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.trainer.factories import timeless, tiny_model, tiny_run, tiny_wide_resnet
from trainer.checkpoint import Checkpointing
from trainer.config import InitialWeights, TrainConfig
from trainer.data.splits import Splits
from trainer.errors import CheckpointError, ConfigError
from trainer.fit import fit
from trainer.models.build import build
from trainer.restoring import trained_model
from trainer.state import TrainingState
from trainer.transfer import (
    begin_from,
    digest_of,
    head_of,
    misfits,
    parts_of,
    read_weights,
    write_weights,
)

CPU = torch.device("cpu")


def weights_of(config: TrainConfig, *, seed: int = 7) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    network = build(config.model)
    return {
        name: torch.randn_like(w) if w.is_floating_point() else w.clone()
        for name, w in network.state_dict().items()
    }


def positive(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Variances are."""
    return {n: w.abs() + 0.1 if n.endswith("running_var") else w for n, w in weights.items()}


@pytest.fixture
def weights() -> dict[str, Tensor]:
    return positive(weights_of(tiny_run()))


def begun(weights: Mapping[str, Tensor], **initial: object) -> TrainConfig:
    return tiny_run(initial=InitialWeights(digest=digest_of(weights), **initial))  # type: ignore[arg-type]


def test_a_state_begins_with_the_weights_and_a_new_head(weights: dict[str, Tensor]) -> None:
    config = begun(weights)
    state = TrainingState(config, device=CPU, initial=weights)
    drawn = TrainingState(tiny_run(), device=CPU).evaluated_weights()
    for found in (state.model.state_dict(), state.evaluated_weights()):  # the average begins there
        for name, tensor in found.items():
            source = drawn if name in head_of(state.model) else weights
            assert torch.equal(tensor, source[name]), name


def test_a_head_for_the_same_classes_may_be_kept(weights: dict[str, Tensor]) -> None:
    state = TrainingState(begun(weights, keep_head=True), device=CPU, initial=weights)
    for name in head_of(state.model):
        assert torch.equal(state.model.state_dict()[name], weights[name])


@pytest.mark.parametrize("frozen", [0, 1, 3, 4])
def test_frozen_parts_are_bit_identical_after_training_and_the_others_are_not(
    splits: Splits, weights: dict[str, Tensor], frozen: int, tmp_path: Path
) -> None:
    config = begun(weights, frozen=frozen)
    files = Checkpointing(directory=tmp_path)
    for _ in fit(config, splits, checkpoint=files, initial=weights):
        pass
    network = trained_model(tmp_path, config)
    parts = parts_of(network)
    kept = {id(t) for part in parts[:frozen] for t in part.state_dict(keep_vars=True).values()}
    for name, tensor in network.state_dict(keep_vars=True).items():
        if name.endswith("num_batches_tracked") or name in head_of(network):
            continue
        assert torch.equal(tensor, weights[name]) == (id(tensor) in kept), name


def test_the_parts_of_an_efficientnet_are_its_stem_stages_and_head() -> None:
    network = build(tiny_model())
    assert len(parts_of(network)) == 2 + len(tiny_model().stages)
    everything = {id(p) for p in network.parameters()}
    in_parts = {id(p) for part in parts_of(network) for p in part.parameters()}
    head = {id(network.get_parameter(name)) for name in head_of(network)}
    assert in_parts | head == everything
    assert not in_parts & head


def test_a_wide_resnet_has_parts_too() -> None:
    network = build(tiny_wide_resnet())
    assert not {id(p) for part in parts_of(network) for p in part.parameters()} & {
        id(network.get_parameter(name)) for name in head_of(network)
    }


def test_an_interrupted_run_from_weights_goes_on_exactly(
    splits: Splits, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    config = begun(weights, frozen=2)
    whole = timeless(fit(config, splits, initial=weights))
    files = Checkpointing(directory=tmp_path, every_seconds=0)
    first = timeless(fit(config, splits, checkpoint=files, initial=weights, stop_after=1))
    rest = timeless(fit(config, splits, checkpoint=files, initial=weights, known_epochs=1))
    assert first + rest == whole


def test_weights_that_were_named_but_not_given_are_refused(
    splits: Splits, weights: dict[str, Tensor]
) -> None:
    with pytest.raises(ConfigError, match="initial: the weights"):
        fit(begun(weights), splits)


def test_what_does_not_fit_is_named(weights: dict[str, Tensor]) -> None:
    wide = build(tiny_model(head_channels=24))
    wrong = misfits(wide, weights, keep_head=False)
    assert wrong[0] == "features.3.0.weight is (16, 8, 1, 1) instead of (24, 8, 1, 1)"
    assert not any(name in " ".join(wrong) for name in head_of(wide))
    assert misfits(build(tiny_model()), {}, keep_head=False)[0].endswith("is missing")
    more = {**weights, "features.9.weight": torch.zeros(1)}
    fits = build(tiny_model())
    assert misfits(fits, more, keep_head=True) == ["features.9.weight is not in the network"]
    with pytest.raises(ConfigError, match=r"features\.0\.0\.weight is missing, .* and \d+ more"):
        begin_from(wide, {}, InitialWeights(digest="x"))


def test_frozen_more_than_there_is(weights: dict[str, Tensor]) -> None:
    with pytest.raises(ConfigError, match=r"initial\.frozen: the network has 4 parts, got 5"):
        TrainingState(begun(weights, frozen=5), device=CPU, initial=weights)


def test_the_digest_is_of_names_shapes_and_values(weights: dict[str, Tensor]) -> None:
    same = dict(reversed(weights.items()))
    assert digest_of(same) == digest_of(weights)
    name = next(iter(weights))
    others = [
        {**weights, name: weights[name] + 1},
        {**weights, name: weights[name].flatten()},
        {("x" if key == name else key): value for key, value in weights.items()},
    ]
    assert len({digest_of(w) for w in (weights, *others)}) == 4


def test_weights_on_disk_are_what_their_name_says(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    path, digest = tmp_path / "weights" / "w.safetensors", digest_of(weights)
    write_weights(path, weights)
    assert digest_of(read_weights(path, digest=digest)) == digest
    assert list(path.parent.iterdir()) == [path]
    with pytest.raises(CheckpointError, match="other weights"):
        read_weights(path, digest="0" * 32)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_weights(path, digest=digest)


def test_a_network_without_a_linear_layer_has_no_head() -> None:
    with pytest.raises(ConfigError, match="no linear layer"):
        head_of(nn.Sequential(nn.Conv2d(3, 3, 1)))
