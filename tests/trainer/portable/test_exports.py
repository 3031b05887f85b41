import io
import json
from dataclasses import replace
from functools import cache

import onnx
import pytest
import torch
from onnx import TensorProto

from search_spaces.published import published
from tests.trainer.factories import tiny_model, tiny_wide_resnet
from tests.trainer.portable.factories import a_model
from trainer.errors import CheckpointError, ConfigError
from trainer.fixres.parametric import AffineMap, with_pooled_map
from trainer.portable import exports
from trainer.portable.exports import FORMATS, compare, require_agreement
from trainer.portable.files import RECIPE, PortableModel
from trainer.portable.recipe import recipe_from_json
from trainer.preprocessing import preprocessing


def mapped() -> PortableModel:
    """With a map behind the pool, and used at another resolution than it was trained at."""
    model = a_model()
    network = model.network()
    with_pooled_map(network).set(AffineMap(scale=1.5, shift=0.25))
    recipe = model.recipe.with_(pooled_map=True, preprocessing=preprocessing(24, crop_fraction=1))
    return PortableModel(recipe=recipe, weights=network.state_dict())


MODELS = {
    "efficientnet": a_model,
    "wide-resnet": lambda: a_model(tiny_wide_resnet()),
    "mapped": mapped,
    "b0": lambda: a_model(published("B0", num_classes=5).with_(resolution=64)),
}


@cache
def exported(to: str, name: str) -> tuple[PortableModel, bytes, str]:
    """The model, the file, the note."""
    model = MODELS[name]()
    return model, *FORMATS[to].make(model)


@pytest.mark.parametrize("name", ["efficientnet", "wide-resnet", "mapped"])
@pytest.mark.parametrize("to", ["onnx", "torch-export"])
def test_an_export_agrees_for_any_number_of_images(to: str, name: str) -> None:
    model, content, note = exported(to, name)
    assert require_agreement(content, model, to).holds
    assert note == ""
    answer = FORMATS[to].load(content, model)
    side = model.recipe.preprocessing.resolution
    for count in (1, 5):
        images = torch.randn(count, 3, side, side)
        expected = model.network()(images)
        assert torch.allclose(answer(images), expected, atol=1e-4)


def test_an_onnx_file_says_what_it_takes_and_means() -> None:
    model, content, _ = exported("onnx", "efficientnet")
    program = onnx.load_from_string(content)
    onnx.checker.check_model(program)
    (images,), (logits,) = program.graph.input, program.graph.output
    assert (images.name, logits.name) == ("images", "logits")
    assert images.type.tensor_type.elem_type == TensorProto.FLOAT
    batch, *rest = images.type.tensor_type.shape.dim
    assert batch.dim_param
    assert [each.dim_value for each in rest] == [3, 16, 16]
    told = {each.key: each.value for each in program.metadata_props}
    recipe = model.recipe.to_json()
    assert told["name"] == "B1"
    for name in ("class_names", "mean", "std", "preprocessing"):
        assert json.loads(told[name]) == recipe[name]


def test_a_torch_export_brings_its_recipe() -> None:
    model, content, _ = exported("torch-export", "efficientnet")
    files = {RECIPE: ""}
    torch.export.load(io.BytesIO(content), extra_files=files)
    assert recipe_from_json(json.loads(files[RECIPE])) == model.recipe


def test_a_file_for_torchvision_agrees_and_names_the_network() -> None:
    model, content, note = exported("torchvision", "b0")
    assert require_agreement(content, model, "torchvision").holds
    assert note.startswith("for torchvision.models.efficientnet_b0(num_classes=5); the variances")


@pytest.mark.parametrize(
    ("to", "name"),
    [("onnx", "efficientnet"), ("torch-export", "efficientnet"), ("torchvision", "b0")],
)
def test_weights_that_are_a_little_off_are_noticed(to: str, name: str) -> None:
    model, content, _ = exported(to, name)
    largest = compare(content, model, to).allowed / FORMATS[to].tolerance
    bias = model.weights["classifier.1.bias"]
    weights = {**model.weights, "classifier.1.bias": bias + largest / 100}
    other = PortableModel(recipe=model.recipe, weights=weights)
    with pytest.raises(CheckpointError, match=f"B1 as {to} answers differently: a logit is off by"):
        require_agreement(content, other, to)


def test_a_model_that_answers_nothing_agrees_with_nothing() -> None:
    weights = {name: weight * float("nan") for name, weight in a_model().weights.items()}
    broken = replace(a_model(), weights=weights)
    content, _ = FORMATS["torch-export"].make(broken)
    assert not compare(content, broken, "torch-export").holds


def test_exporters_print_nothing(
    capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    for to in ("onnx", "torch-export"):
        compare(FORMATS[to].make(a_model())[0], a_model(), to)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_what_onnx_cannot_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "ONNX_LIMIT", 1000)
    with pytest.raises(ConfigError, match="B1 is larger than the 2 GB"):
        FORMATS["onnx"].make(a_model())


def test_a_network_that_torchvision_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match="none of torchvision's networks"):
        FORMATS["torchvision"].make(a_model(tiny_model()))
