from pathlib import Path

import pytest

from orchestrator.errors import UsageError
from orchestrator.models.finding import find_model, model_folder
from orchestrator.models.listing import ListedModel, models_of_run
from orchestrator.run_dir import RunDir, write_json, write_whole
from tests.trainer.portable.factories import a_model
from trainer.portable.files import RECIPE, WEIGHTS, write_model


def a_run(root: Path, **stages: list[str]) -> RunDir:
    """A run whose stages have left models of these names."""
    run_dir = RunDir(root)
    write_whole(run_dir.journal, "")
    for stage, names in stages.items():
        entries = [{"name": n, "path": f"{stage}/models/{n}", "register": None} for n in names]
        write_json(run_dir.result(stage), {"models": entries})
        for name in names:
            write_model(run_dir.stage(stage) / "models" / name, a_model())
    return run_dir


@pytest.mark.parametrize("place", ["model", f"model/{WEIGHTS}", f"model/{RECIPE}"])
def test_a_folder_and_its_files_are_the_model(tmp_path: Path, place: str) -> None:
    write_model(tmp_path / "model", a_model())
    assert model_folder(tmp_path / place) == tmp_path / "model"
    assert find_model(str(tmp_path / place)).recipe == a_model().recipe


def test_a_run_with_one_model_is_that_model(tmp_path: Path) -> None:
    run_dir = a_run(tmp_path, scale=["B1"], fixres=[])
    assert model_folder(tmp_path) == tmp_path / "scale" / "models" / "B1"
    (found,) = models_of_run(run_dir)
    assert found == ListedModel(
        stage="scale", name="B1", folder=tmp_path / "scale" / "models" / "B1", register=None
    )


def refusal(place: Path) -> str:
    with pytest.raises(UsageError) as caught:
        find_model(place)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_of_several_models_one_has_to_be_named(tmp_path: Path) -> None:
    a_run(tmp_path, scale=["B1", "B2"], fixres=["B1-320"])
    message = refusal(tmp_path)
    assert "is a run with 3 models; name one of" in message
    assert f"'{tmp_path}/scale/models/B2'" in message


def test_a_run_without_models_says_where_they_come_from(tmp_path: Path) -> None:
    a_run(tmp_path, scale=[])
    assert "has left no model; 'orchestrator scale'" in refusal(tmp_path)


def test_a_checkpoint_is_no_model_and_says_where_one_lies(tmp_path: Path) -> None:
    (tmp_path / "best.pt").touch()
    assert "a checkpoint, without class names and preprocessing; a model is" in refusal(
        tmp_path / "best.pt"
    )
    write_model(tmp_path / "model", a_model())
    assert refusal(tmp_path / "best.pt").endswith(f"name '{tmp_path}/model' instead")


def test_what_is_no_model_is_told_what_one_is(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "empty").mkdir()
    for place, why in [
        ("notes.txt", "is no model"),
        ("empty", "holds no model"),
        ("nothing", "is not there"),
    ]:
        message = refusal(tmp_path / place)
        assert why in message
        assert "a model is a folder with model.safetensors and recipe.json" in message
    assert refusal(tmp_path / "\0").isprintable()


def test_a_folder_above_a_model_names_it(tmp_path: Path) -> None:
    write_model(tmp_path / "B1", a_model())
    assert refusal(tmp_path).endswith(f"did you mean '{tmp_path}/B1'?")


def test_a_damaged_model_is_a_mistake_of_the_users(tmp_path: Path) -> None:
    write_model(tmp_path / "model", a_model())
    (tmp_path / "model" / WEIGHTS).write_bytes(b"?")
    assert str(tmp_path / "model") in refusal(tmp_path / "model")


@pytest.mark.parametrize("entries", [None, "B1", [1, {"name": "B1"}], [{"name": 1, "path": "x"}]])
def test_a_result_that_lists_nothing_sensible_has_no_models(
    tmp_path: Path, entries: object
) -> None:
    run_dir = a_run(tmp_path)
    write_json(run_dir.result("scale"), {"models": entries})
    assert models_of_run(run_dir) == []
