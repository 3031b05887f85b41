import json
from typing import Any

import pytest

from tests.trainer.factories import tiny_model, tiny_wide_resnet
from tests.trainer.portable.factories import a_recipe
from trainer.errors import ConfigError
from trainer.portable.recipe import FORMAT, model_from_json, recipe_from_json


@pytest.mark.parametrize("model", [tiny_model(norm_eps=1e-5), tiny_wide_resnet()])
def test_a_recipe_survives_json(model: Any) -> None:
    recipe = a_recipe(model, pooled_map=True)
    assert recipe_from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_every_class_needs_a_name() -> None:
    with pytest.raises(ConfigError, match="class_names: 2 names for 10 classes"):
        a_recipe(class_names=("a", "b"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": FORMAT + 1}, f"format: this is format {FORMAT}, got {FORMAT + 1}"),
        ({"mean": [0.5]}, "mean: expected three channels, got 1"),
        ({"std": [0.0, 1, 1]}, "std must be positive"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_document_that_is_no_recipe_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe_from_json({**a_recipe().to_json(), **change})


def test_a_missing_field_is_named() -> None:
    document = a_recipe().to_json()
    del document["model"]
    with pytest.raises(ConfigError, match="model"):
        recipe_from_json(document)


def test_a_network_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown key attention"):
        model_from_json({**tiny_model().to_json(), "attention": 1})
