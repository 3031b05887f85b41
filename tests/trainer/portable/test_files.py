from pathlib import Path

import pytest
import torch

from tests.trainer.factories import tiny_model, tiny_wide_resnet
from tests.trainer.portable.factories import a_model
from trainer.errors import CheckpointError
from trainer.fixres.parametric import AffineMap, with_pooled_map
from trainer.portable.files import RECIPE, WEIGHTS, PortableModel, read_model, write_model


@pytest.mark.parametrize("config", [tiny_model(), tiny_wide_resnet()])
def test_a_model_read_back_answers_the_same(tmp_path: Path, config: object) -> None:
    model = a_model(config)  # type: ignore[arg-type]
    write_model(tmp_path / "model", model)
    images = torch.randn(2, 3, 16, 16)
    for place in ("model", f"model/{WEIGHTS}", f"model/{RECIPE}"):
        found = read_model(tmp_path / place)
        assert found.recipe == model.recipe
        assert torch.equal(found.network()(images), model.network()(images))
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [WEIGHTS, RECIPE]


def test_a_map_behind_the_pool_comes_along(tmp_path: Path) -> None:
    network = a_model().network()
    with_pooled_map(network).set(AffineMap(scale=2.0, shift=0.5))
    recipe = a_model(pooled_map=True).recipe
    write_model(tmp_path, PortableModel(recipe=recipe, weights=network.state_dict()))
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(read_model(tmp_path).network()(images), network(images))


def test_reading_leaves_the_random_numbers_alone() -> None:
    model = a_model()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    model.network()
    assert torch.equal(torch.get_rng_state(), before)


def test_weights_of_another_network_are_named(tmp_path: Path) -> None:
    other = a_model(tiny_model(head_channels=24))
    write_model(tmp_path, PortableModel(recipe=a_model().recipe, weights=other.weights))
    with pytest.raises(CheckpointError, match=r"tensors do not fit the network: features\.3\.0"):
        read_model(tmp_path).network()


@pytest.mark.parametrize("missing", [WEIGHTS, RECIPE])
def test_half_a_model_is_none(tmp_path: Path, missing: str) -> None:
    write_model(tmp_path, a_model())
    (tmp_path / missing).unlink()
    with pytest.raises(CheckpointError, match=rf"no model \({missing} is missing\)"):
        read_model(tmp_path)


@pytest.mark.parametrize("damaged", [WEIGHTS, RECIPE])
def test_a_damaged_file_is_one_line(tmp_path: Path, damaged: str) -> None:
    write_model(tmp_path, a_model())
    (tmp_path / damaged).write_bytes(b"{\n" * 9)
    with pytest.raises(CheckpointError) as caught:
        read_model(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_not_wholly_written_has_no_recipe(tmp_path: Path) -> None:
    write_model(tmp_path, a_model())
    (tmp_path / WEIGHTS).unlink()
    (tmp_path / WEIGHTS).mkdir()  # nothing can be renamed to it
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_model(tmp_path, a_model(seed=1))
    assert [path.name for path in tmp_path.iterdir()] == [WEIGHTS]
