import json
from pathlib import Path

import onnxruntime
import pytest
import torch

from orchestrator import api
from orchestrator.__main__ import main
from orchestrator.errors import NotReady, UsageError
from orchestrator.exporting import MODEL_TARGETS, export
from orchestrator.new_files import whole_file
from tests.journals import write_run
from tests.trainer.portable.factories import a_model
from trainer.errors import CheckpointError, ConfigError
from trainer.portable import exports
from trainer.portable.exports import FORMATS
from trainer.portable.files import PortableModel, write_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_model(tmp_path / "model", a_model())
    return tmp_path / "model"


def test_the_targets_are_the_trainers_formats() -> None:
    assert tuple(FORMATS) == MODEL_TARGETS


def test_the_command_writes_a_file_that_others_can_use(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "b1.onnx"
    assert main(["export", str(model), "--to", "onnx", "--output", str(output), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert 0 <= document["largest_difference"] <= document["tolerance"] < 0.1
    assert {name: document[name] for name in ("output", "to", "model", "note")} == {
        "output": str(output), "to": "onnx", "model": "B1", "note": "",
    }  # fmt: skip
    session = onnxruntime.InferenceSession(output, providers=["CPUExecutionProvider"])
    images = torch.randn(4, 3, 16, 16)
    (logits,) = session.run(None, {"images": images.numpy()})
    expected = a_model().network()(images)
    assert torch.allclose(torch.from_numpy(logits), expected, atol=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b1.onnx", "model"]


def test_what_was_written_is_said_in_a_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "b1.pt2"
    command = ["export", str(model), "--to", "torch-export", "--output", str(output)]
    assert main(command) == 0
    assert capsys.readouterr().out.startswith(f"{output}: B1, logits agree within ")
    torch.export.load(output)
    assert main(command) == 2
    assert capsys.readouterr().err.startswith(f"error: --output {output}: exists")


def test_a_file_that_answers_differently_is_not_left(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = exports.FORMATS["torch-export"]
    off = PortableModel(recipe=a_model().recipe, weights=a_model(seed=1).weights)
    monkeypatch.setitem(
        exports.FORMATS,
        "torch-export",
        exports.Format(
            suffix=chosen.suffix,
            tolerance=chosen.tolerance,
            make=lambda _: chosen.make(off),
            load=chosen.load,
        ),
    )
    with pytest.raises(CheckpointError, match="B1 as torch-export answers differently"):
        api.export(model, to="torch-export", output=tmp_path / "x.pt2")
    assert list(tmp_path.iterdir()) == [model]


def test_a_network_that_torchvision_lacks_is_refused_on_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "b1.pth"
    assert main(["export", str(model), "--to", "torchvision", "--output", str(output)]) == 2
    error = capsys.readouterr().err
    assert "B1 is none of torchvision's networks; the nearest is efficientnet_b" in error
    assert "stem_channels is 8 instead of 32" in error
    assert error.count("\n") == 1
    assert not output.exists()


def test_the_name_has_to_fit_the_format(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the name must end in \.onnx"):
        api.export(model, to="onnx", output=tmp_path / "model.bin")


def test_a_model_is_no_run_and_a_run_no_model(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a model, not a run; use --to onnx, torch-export, torchv"):
        export(model, to="csv", output=tmp_path / "x.csv")
    run_dir = write_run(tmp_path / "run", [])
    with pytest.raises(UsageError, match="is a run that has left no model"):
        export(run_dir.root, to="onnx", output=tmp_path / "x.onnx")
    with pytest.raises(ConfigError, match=r"--to: unknown value 'onx'.*Did you mean 'onnx'"):
        export(model, to="onx", output=tmp_path / "x.onnx")


def test_a_disk_that_is_full_leaves_nothing(tmp_path: Path) -> None:
    def fill() -> None:
        with whole_file(tmp_path / "x") as aside:
            aside.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(NotReady, match="No space left"):
        fill()
    assert not list(tmp_path.iterdir())
