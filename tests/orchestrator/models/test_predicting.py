import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from orchestrator import api
from orchestrator.__main__ import main
from orchestrator.errors import UsageError
from orchestrator.models.predicting import predict
from tests.trainer.portable.factories import a_model
from trainer.data.images import read_image
from trainer.portable.files import PortableModel, write_model
from trainer.portable.inference import logits


@pytest.fixture(scope="module")
def model() -> PortableModel:
    return a_model()


@pytest.fixture(scope="module")
def folder(model: PortableModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and pictures of many kinds beside it."""
    root = tmp_path_factory.mktemp("predict")
    write_model(root / "model", model)
    pictures = root / "pictures"
    pictures.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 4), np.uint8)
    Image.fromarray(pixels[..., :3]).save(pictures / "colour.png")
    Image.fromarray(pixels[..., 0]).save(pictures / "grey.png")
    Image.fromarray(pixels, mode="RGBA").save(pictures / "see-through.png")
    turned = Image.Exif()
    turned[0x0112] = 6  # lies on its side
    Image.fromarray(pixels[..., :3]).save(pictures / "turned.jpg", exif=turned)
    (pictures / "notes.txt").write_text("no picture")
    (pictures / ".hidden.png").write_text("no picture")
    (pictures / "more").mkdir()
    return root


NAMES = ["colour.png", "grey.png", "see-through.png", "turned.jpg"]


def test_answers_are_the_networks_own(model: PortableModel, folder: Path) -> None:
    paths = [folder / "pictures" / name for name in NAMES]
    expected = logits(
        model.network(), model.recipe, map(read_image, paths), device=torch.device("cpu")
    ).softmax(dim=1)
    predictions = predict(folder / "model", paths, top=10)
    assert [each.path for each in predictions] == paths
    for prediction, probabilities in zip(predictions, expected, strict=True):
        found = {guess.class_name: guess.probability for guess in prediction.top}
        assert sum(found.values()) == pytest.approx(1)
        for name, probability in zip(model.recipe.class_names, probabilities, strict=True):
            assert found[name] == pytest.approx(probability.item(), abs=1e-5)
        assert list(found.values()) == sorted(found.values(), reverse=True)


def test_a_folder_stands_for_its_own_pictures(folder: Path) -> None:
    predictions = api.predict(folder / "model", folder / "pictures")
    assert [each.path.name for each in predictions] == NAMES
    assert {len(each.top) for each in predictions} == {3}


def test_more_classes_than_there_are_is_all_of_them(folder: Path) -> None:
    (prediction,) = predict(folder / "model", [folder / "pictures" / "grey.png"], top=1000)
    assert len(prediction.top) == 10


def test_the_command_prints_a_line_a_picture(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", str(folder / "model"), str(folder / "pictures"), "--top", "2"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith(f"{folder}/pictures/colour.png: class ")
    assert lines[0].count(" %") == 2
    assert main([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [Path(each["path"]).name for each in document["images"]] == NAMES
    assert set(document["images"][0]["top"][0]) == {"class", "probability"}


def test_a_picture_that_cannot_be_read_is_named_before_anything_is_printed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = folder / "pictures"
    command = ["predict", str(folder / "model"), str(pictures), str(pictures / "notes.txt")]
    assert main(command) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"error: '{pictures / 'notes.txt'}' is not a readable image\n"


@pytest.mark.parametrize(
    ("images", "message"),
    [(["gone.png"], "gone.png' is not there"), (["pictures/more"], "more' holds no image files")],
)
def test_pictures_that_are_not_there_are_refused(
    folder: Path, images: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        predict(folder / "model", [folder / image for image in images])


def test_a_class_at_least_is_shown(folder: Path) -> None:
    with pytest.raises(UsageError, match="--top must be at least 1, got 0"):
        predict(folder / "model", [folder / "pictures"], top=0)
