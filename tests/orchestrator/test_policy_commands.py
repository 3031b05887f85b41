import ast
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

import trainer.augment
from orchestrator import api
from orchestrator.__main__ import main
from orchestrator.policies.catalogue import SOURCES
from orchestrator.policies.conversion import TARGETS, literal
from orchestrator.reporting.policy_tables import UNITS, operation_text, policy_lines
from tests.pictures import pictures
from trainer.augment.apply import apply
from trainer.augment.files import policy_from_json, policy_to_dict, policy_to_json
from trainer.augment.ops import OPS
from trainer.augment.policy import (
    Augmentation,
    Operation,
    Policy,
    PolicySchedule,
    PopulationPolicy,
    Segment,
    SubPolicy,
    Uniform,
)
from trainer.augment.presets import PRESETS, preset, trivialaugment
from trainer.augment.torchvision_export import to_torchvision
from trainer.errors import ConfigError

OURS = ("orchestrator", "search_spaces", "trainer")

ALONE = f"""
import importlib.util, sys

class Elsewhere:
    '''A machine on which this project is not installed.'''
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OURS}:
            raise ImportError(name)

sys.meta_path.insert(0, Elsewhere())
spec = importlib.util.spec_from_file_location("converted", sys.argv[1])
converted = importlib.util.module_from_spec(spec)
spec.loader.exec_module(converted)
transform = converted.transform()
"""


def alone(program: str, *arguments: Path) -> None:
    """Run a program after ALONE, in a Python that finds only what is installed, and not us."""
    command = [sys.executable, "-I", "-c", ALONE + program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def one(*operations: Operation, name: str = "one") -> Policy:
    return Policy(name=name, sub_policies=(SubPolicy(operations=operations),), fill=(9, 8, 7))


CERTAIN = one(
    Operation(name="invert"),
    Operation(name="posterize", magnitude=3),
    Operation(name="translate-x", magnitude=0.25, mirrored=False),
    Operation(name="solarize", magnitude=100),
)
"""The same for every image, and computed without rounding."""

POPULATION = PopulationPolicy(
    name="population",
    operations=(
        Operation(name="invert", probability=0.5),
        Operation(name="rotate", probability=0.1, magnitude=9),
    ),
)
SCHEDULE = PolicySchedule(
    name="schedule",
    segments=(
        Segment(epochs=1, policy=one(Operation(name="invert"))),
        Segment(epochs=3, policy=POPULATION),
    ),
)


def saved(policy: Augmentation, folder: Path) -> str:
    path = folder / "policy.json"
    path.write_text(policy_to_json(policy), encoding="utf-8")
    return str(path)


def said(line: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(line) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_the_presets_are_listed_one_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    head, *lines = said(["policy", "list"], capsys).splitlines()
    assert head.split() == ["name", "kind", "sub-policies", "operations", "source"]
    assert [line.split()[0] for line in lines] == list(PRESETS) == list(SOURCES)
    assert re.fullmatch(
        r"autoaugment-svhn +sub-policies +25 +Cubuk 2019, arXiv:1805.09501", lines[2]
    )
    starts = {line.index(source) for line, source in zip(lines, SOURCES.values(), strict=True)}
    assert len(starts) == 1


def test_the_list_is_a_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    rows = json.loads(said(["policy", "list", "--json"], capsys))
    assert rows == api.policy_list()
    assert {row["name"]: row["operations"] for row in rows}["randaugment"] == 14


def test_a_sub_policy_is_a_line_with_units(capsys: pytest.CaptureFixture[str]) -> None:
    head, fill, empty, *lines = said(["policy", "show", "autoaugment-imagenet"], capsys).split("\n")
    assert head == "policy     autoaugment-imagenet: each image gets one of 25 sub-policies"
    assert (fill, empty) == ("fill       grey 128", "")
    assert re.fullmatch(
        r" +1  posterize 8 bits kept +p 0\.4  rotate 30° ± +p 0\.6", lines[0].rstrip()
    )
    assert len(lines[:-1]) == 25


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_shown_and_printed_as_its_file(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said(["policy", "show", name], capsys).startswith(f"policy     {name}: ")
    assert json.loads(said(["policy", "show", name, "--json"], capsys)) == policy_to_dict(
        trivialaugment() if name == "trivialaugment" else preset(name)
    )


def test_a_file_is_shown_as_well_as_a_preset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = said(["policy", "show", saved(CERTAIN, tmp_path)], capsys).splitlines()
    assert lines[0] == "policy     one: each image gets this"
    assert lines[1] == "fill       red 9, green 8, blue 7"
    assert lines[3] == (
        "  1  invert  p 1  posterize 3 bits kept  p 1  "
        "translate-x 0.25 of the side  p 1  solarize threshold 100  p 1"
    )


def test_every_unit_has_its_words() -> None:
    units = {op.magnitude.unit for op in OPS.values() if op.magnitude is not None}
    assert units == set(UNITS)


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (Operation(name="invert"), "invert"),
        (Operation(name="rotate", magnitude=-9, mirrored=False), "rotate -9°"),
        (Operation(name="color", magnitude=1.9), "color factor 1.9"),
        (Operation(name="color", magnitude=0.1, mirrored=True), "color factor 1 ± 0.9"),
        (
            Operation(name="color", magnitude=Uniform(low=1, high=1.99, bins=31), mirrored=True),
            "color factor 1 ± 0 to 0.99 in 31 steps",
        ),
        (
            Operation(name="translate-x", magnitude=Uniform(low=0, high=0.5)),
            "translate-x 0 to 0.5 of the side ±",
        ),
        (Operation(name="solarize-add", magnitude=33), "solarize-add 33 added below 128"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_operation_in_words(operation: Operation, text: str) -> None:
    (row,) = policy_to_dict(one(operation))["sub_policies"][0]["operations"]
    assert operation_text(row) == text


def test_a_schedule_is_shown_segment_by_segment() -> None:
    lines = list(policy_lines(policy_to_dict(SCHEDULE)))
    assert lines[0] == "policy     schedule: 2 segments, one after another"
    assert lines[2:4] == ["epoch 1: each image gets this", "  1  invert  p 1"]
    numbers = "0 (p 0.2), 1 (p 0.3), 2 (p 0.5)"
    assert lines[5] == (
        f"epochs 2 to 4: each image gets the first {numbers} that come up of 2 operations "
        "in random order"
    )
    assert lines[-1] == "  2  rotate 9° ±  p 0.1"


def test_a_picture_is_drawn_on_the_first_training_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "cutout.png"
    out = said(["policy", "show", "cutout", "--picture", str(path), "--images", "1"], capsys)
    assert out.splitlines()[-1] == f"picture    {path}"
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("", "no command given; choose from list, show, convert, or --help"),
        ("lst", "command: unknown value 'lst'; choose from convert, list, show. Did you mean"),
        ("show", "Missing argument 'FILE|PRESET'."),
        ("show randaugmnt", "policy: unknown value 'randaugmnt'; choose from autoaugment-imagenet"),
        ("show randaugmnt", "Did you mean 'randaugment'?"),
        ("show no.json", "policy: no.json cannot be read: No such file or directory"),
        ("show broken.json", "broken.json: no JSON at line 1"),
        ("show wrong.json", "wrong.json.kind: unknown value 'colr'; choose from"),
        ("show cutout --side 0", "Invalid value for '--side'"),
        ("show cutout --images 2", "--dataset, --images and --download say what --picture shows"),
        ("show cutout --picture a.jpg", "--picture a.jpg: the name must end in .png"),
        ("show cutout --picture a.png --images 9", "--images must be between 1 and 8, got 9"),
        ("show cutout --picture a.png --dataset digts", "unknown value 'digts'"),
        ("convert cutout --output a.py", "Missing option '--to'."),
        ("convert cutout --to tim --output a.py", "--to: unknown value 'tim'; choose from"),
        ("convert cutout --to tim --output a.py", "Did you mean 'timm'?"),
        ("convert cutot --to timm --output a.py", "Did you mean 'cutout'?"),
        ("convert cutout --to json --output a.py", "--output a.py: the name must end in .json"),
        ("convert cutout --to torchvision --output a", "--output a: the name must end in .py"),
        (
            "convert cutout --to torchvision --output no/a.py",
            "no/a.py: there is no folder",
        ),
        ("convert cutout --to torchvision --output taken.py", "--output taken.py: exists; name"),
        ("convert cutout --to torchvision --output LONG.py", "cannot be written: File name too"),
        ("convert cutout --to timm --output a.py", "policy 'cutout': timm cannot do cutout"),
        ("convert autoaugment-v0 --to torchvision --output a.py", "torchvision cannot do solarize"),
        (
            "convert schedule.json --to timm --output a.py",
            "'schedule': timm knows no epochs",
        ),
        ("convert schedule.json --to torchvision --output a.py", "torchvision knows no epochs"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(
    line: str,
    error: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("broken.json").write_text("[", encoding="utf-8")
    Path("wrong.json").write_text('{"kind": "colr"}', encoding="utf-8")
    Path("schedule.json").write_text(policy_to_json(SCHEDULE), encoding="utf-8")
    Path("taken.py").write_text("mine", encoding="utf-8")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert main(["policy", *line.replace("LONG", "x" * 300).split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert error in err
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that holds no new files")
def test_a_folder_that_holds_no_new_files_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "convert", "cutout", "--to", "json", "--output", "/proc/a.json"]) == 2
    assert re.fullmatch(r"error: --output /proc/a\.json: [^\n]+\n", capsys.readouterr().err)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_becomes_a_file_to_begin_with(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.json"
    out = said(["policy", "convert", name, "--to", "json", "--output", str(path)], capsys)
    assert out == f"{path}\n"
    assert policy_from_json(path.read_text(encoding="utf-8")) == preset(name)
    assert api.policy_show(str(path)) == api.policy_show(name)


def test_the_side_decides_how_far_trivialaugment_translates(tmp_path: Path) -> None:
    path = api.policy_convert("trivialaugment", to="json", output=tmp_path / "mine.json", side=64)
    assert policy_from_json(path.read_text(encoding="utf-8")) == trivialaugment(side=64)


def written(path: Path) -> Any:
    """The policy in a converted file, read without running it."""
    values = {
        node.target.id: node.value
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value
    }
    return ast.literal_eval(values["POLICY"])


def test_whatever_a_policy_is_called_stays_a_text(tmp_path: Path) -> None:
    policy = one(Operation(name="invert"), name='"""\'\\\nraise SystemExit(1) # \ud800')
    source = saved(policy, tmp_path)
    path = api.policy_convert(source, to="torchvision", output=tmp_path / "a.py")
    assert written(path) == policy_to_dict(policy)


def test_plain_values_are_written_as_they_are() -> None:
    value = {"a": [1, 0.1, None, True], "b": {"c": "it's"}, "long": [["x" * 60]] * 3, "none": []}
    assert ast.literal_eval(literal(value)) == value
    assert literal([1, {"a": 2}]) == "[1, {'a': 2}]"
    assert literal(["x" * 60, "y" * 60]).count("\n") == 3


@pytest.mark.parametrize("template", ["torchvision_transform.py", "timm_transform.py"])
def test_what_is_given_away_imports_nothing_of_ours(template: str) -> None:
    source = (Path(trainer.augment.__path__[0]) / template).read_text(encoding="utf-8")
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(source))
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    known = set(sys.stdlib_module_names) | {"torch", "torchvision", "timm", "PIL"}
    assert imported <= known


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tensor]:
    """Pictures, and the file that another process reads them from."""
    path = tmp_path_factory.mktemp("images") / "images.pt"
    shown = pictures(8, 32, 32)
    torch.save(shown, path)
    return path, shown


def test_a_converted_file_does_in_torchvision_what_we_do(
    tmp_path: Path, images: tuple[Path, Tensor]
) -> None:
    path = api.policy_convert(
        saved(CERTAIN, tmp_path), to="torchvision", output=tmp_path / "certain.py"
    )
    program = (
        "import torch; from torchvision.transforms.v2 import functional as f;"
        "images = torch.load(sys.argv[2]);"
        "tensors = torch.stack([transform(image) for image in images]);"
        "pil = [f.pil_to_tensor(transform(f.to_pil_image(image))) for image in images];"
        "torch.save((tensors, torch.stack(pil)), sys.argv[3])"
    )
    alone(program, path, images[0], tmp_path / "done.pt")
    tensors, pil = torch.load(tmp_path / "done.pt")
    assert tensors.equal(apply(CERTAIN, images[1]))
    assert pil.equal(tensors)


def test_a_converted_file_draws_as_we_do(tmp_path: Path, images: tuple[Path, Tensor]) -> None:
    path = api.policy_convert(
        "trivialaugment", to="torchvision", output=tmp_path / "drawn.py", side=32
    )
    program = (
        "import torch; torch.manual_seed(3);"
        "images = torch.load(sys.argv[2]);"
        "torch.save(torch.stack([transform(image) for image in images]), sys.argv[3])"
    )
    alone(program, path, images[0], tmp_path / "done.pt")
    torch.manual_seed(3)
    transform = to_torchvision(trivialaugment(side=32))
    assert torch.load(tmp_path / "done.pt").equal(torch.stack([transform(i) for i in images[1]]))


def test_a_converted_file_does_in_timm_what_we_do(
    tmp_path: Path, images: tuple[Path, Tensor]
) -> None:
    auto_augment = pytest.importorskip("timm.data.auto_augment", reason="timm is not installed")
    from trainer.augment.timm_export import to_timm

    path = api.policy_convert("autoaugment-imagenet", to="timm", output=tmp_path / "drawn.py")
    program = (
        "import random, torch; from torchvision.transforms.v2 import functional as f;"
        "images = map(f.to_pil_image, torch.load(sys.argv[2])); random.seed(3);"
        "torch.save([f.pil_to_tensor(transform(image)) for image in images], sys.argv[3])"
    )
    alone(program, path, images[0], tmp_path / "done.pt")
    random.seed(3)
    transform = auto_augment.AutoAugment(to_timm(preset("autoaugment-imagenet")))
    ours = [functional.pil_to_tensor(transform(functional.to_pil_image(i))) for i in images[1]]
    done = torch.load(tmp_path / "done.pt")
    assert [theirs.equal(mine) for theirs, mine in zip(done, ours, strict=True)] == [True] * 8


def test_a_random_policy_is_drawn_by_timms_randaugment(tmp_path: Path) -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    path = api.policy_convert("randaugment", to="timm", output=tmp_path / "drawn.py")
    names: dict[str, Any] = {"__name__": "drawn"}
    exec(compile(path.read_text(encoding="utf-8"), path, "exec"), names)
    transform = names["transform"]()
    assert type(transform).__name__ == "RandAugment"
    assert (transform.num_layers, len(transform.ops)) == (2, 14)


def test_a_population_is_converted_for_torchvision_alone(tmp_path: Path) -> None:
    source = saved(POPULATION, tmp_path)
    path = api.policy_convert(source, to="torchvision", output=tmp_path / "a.py")
    assert written(path) == policy_to_dict(POPULATION)
    with pytest.raises(ConfigError, match="timm cannot draw how many operations it applies"):
        api.policy_convert(source, to="timm", output=tmp_path / "b.py")


def test_the_command_says_what_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.py"
    line = ["policy", "convert", "cutout", "--to", "torchvision", "--output", str(path), "--json"]
    assert json.loads(said(line, capsys)) == {"output": str(path), "to": "torchvision"}
    assert path.read_text(encoding="utf-8").endswith("    return PolicyTransform(POLICY)\n")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("line", ["policy --help", "policy list", "policy show randaugment"])
def test_policies_are_looked_at_without_torch(line: str) -> None:
    program = (
        "import sys; from orchestrator.__main__ import main; main(sys.argv[1:]);"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *line.split()],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        timeout=60,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_the_help_names_every_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert "|".join(TARGETS) in said(["policy", "convert", "--help"], capsys)
