import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from PIL import Image

from orchestrator import doctor
from orchestrator.__main__ import main
from orchestrator.checks import images, room, services, software
from orchestrator.checks.finding import Finding, blocked, ok, warning
from orchestrator.doctor import Diagnosis, diagnosis_lines
from orchestrator.journal import hold
from orchestrator.run_dir import RunDir

ROOT = Path(__file__).parents[2]


def states(findings: Iterable[Finding]) -> list[str]:
    return [finding.state for finding in findings]


def only(findings: Iterable[Finding]) -> Finding:
    (finding,) = findings
    return finding


@pytest.mark.parametrize("fault", ["raise ImportError('libcudart.so: not found')", "os.abort()"])
def test_it_works_where_torch_does_not_import(fault: str, tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(f"import os\n{fault}\n")
    done = subprocess.run(
        [sys.executable, "-m", "orchestrator", "doctor", "--json"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (4, "")
    document = json.loads(done.stdout)
    assert document["ready"] is False
    (torch,) = [check for check in document["checks"] if check["about"] == "torch"]
    assert torch["state"] == "blocked"
    assert "libcudart" in torch["says"] or "crashed on import (signal 6)" in torch["says"]
    assert {"python", "memory", "ray", "mlflow"} <= {check["about"] for check in document["checks"]}


def test_it_works_where_nothing_but_click_is_installed(tmp_path: Path) -> None:
    script = """
import sys
sys.modules.update(dict.fromkeys(
    ("torch", "torchvision", "numpy", "scipy", "sklearn", "PIL", "yaml", "pydantic", "rich",
     "ray", "optuna", "mlflow", "matplotlib")))
from orchestrator.__main__ import main
sys.exit(main(["doctor", "--json", "--dataset", "digits"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    blocks = [c["about"] for c in json.loads(done.stdout)["checks"] if c["state"] == "blocked"]
    assert blocks == ["torch", "data set"]


def test_torch_is_tried_for_real() -> None:
    torch, device = software.check_torch()
    assert torch.state == "ok"
    assert "both compute" in torch.says
    assert device.about == "device"


def test_a_gpu_that_torch_does_not_see_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "local_gpus", lambda: 2)
    finding = software._device({"gpus": [], "gpu_error": ""})
    assert (finding.state, finding.says[:26]) == ("warning", "torch does not see the 2 G")


def test_a_gpu_that_does_not_compute_blocks() -> None:
    gpu = {"name": "A", "bytes": 2**34}
    assert software._device({"gpus": [gpu], "gpu_error": ""}).says.startswith("1 GPU: A (16 GiB)")
    assert software._device({"gpus": [gpu], "gpu_error": "no kernel image"}).state == "blocked"


def test_a_package_that_is_missing_or_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["ray[tune]>=999.1", "nothing-of-the-kind>=1", "click>=8.2", 'x>=1; extra == "y"']
    monkeypatch.setattr(software, "requires", lambda name: lines[:3])
    said = [finding.says for finding in software.check_packages()]
    assert len(said) == 2
    assert said[0].endswith("is older than 999.1")
    assert said[1] == "nothing-of-the-kind is not installed (needs 1 or newer)"


def test_memory_without_room_for_a_worker_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "local_cpus", lambda: 4)
    for free, state in ((10**8, "blocked"), (2 * 10**9, "warning"), (5 * 10**9, "ok")):
        monkeypatch.setattr(room, "available_memory", lambda free=free: free)
        assert only(room.check_memory()).state == state


def test_a_folder_that_cannot_hold_a_run_blocks(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    assert room._folder("run", file / "run", remedy="another").state == "blocked"
    assert room._folder("run", Path("/proc/run"), remedy="another").state == "blocked"
    assert room._folder("run", tmp_path / "a" / "b", remedy="another").state == "ok"
    assert not (tmp_path / "a").exists()


def test_a_run_directory_that_is_held_names_the_holder(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    with hold(run_dir.lock, doing="testing"):
        finding = only(room.check_holder(run_dir))
    assert finding.state == "blocked"
    assert f"pid {os.getpid()}" in finding.says
    assert not list(room.check_holder(run_dir))


def test_ray_here_is_judged_without_starting_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    assert only(services.check_ray(None)).state == "ok"
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + 60 * "x")
    finding = only(services.check_ray(None))
    assert finding.state == "blocked"
    assert "too long for a socket" in finding.says


def test_a_cluster_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert only(services.check_ray(address)).state == "ok"
    assert only(services.check_ray(address)).state == "blocked"
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert "nothing answers" in only(services.check_ray(None)).says


@pytest.fixture
def server() -> Iterator[tuple[str, list[int]]]:
    """A tracking server that answers with the codes in the list, the last of them for ever."""
    codes = [200]

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(codes[0] if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as http:
        Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", codes
        http.shutdown()


def test_a_tracking_server_is_asked_for_its_health(
    server: tuple[str, list[int]], tmp_path: Path
) -> None:
    uri, codes = server
    assert only(services.check_mlflow(RunDir(tmp_path), uri)).state == "ok"
    codes[0] = 503
    assert "answers 503" in only(services.check_mlflow(RunDir(tmp_path), uri)).says
    codes[0] = 401
    assert only(services.check_mlflow(RunDir(tmp_path), uri)).state == "ok"


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    uri = "http://me:secret@127.0.0.1:9"
    finding = only(services.check_mlflow(RunDir(tmp_path), uri))
    assert finding.state == "warning"
    assert "secret" not in finding.says + finding.remedy


def test_a_tracking_database_is_opened(tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    uri = f"sqlite:///{database}"
    assert only(services.check_mlflow(RunDir(tmp_path), uri)).state == "ok"
    assert not database.exists()
    database.write_text("this is no database, though long enough to have been one" * 10)
    assert "no database that can be read" in only(services.check_mlflow(RunDir(tmp_path), uri)).says


def test_an_address_that_mlflow_has_no_store_for_blocks(tmp_path: Path) -> None:
    assert only(services.check_mlflow(RunDir(tmp_path), "htp://x")).state == "blocked"


def picture(path: Path, side: int, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (side, side + 4), (shade, shade, 0)).save(path)


def pictures(root: Path, *, cats: int, dogs: int) -> Path:
    for name, count in (("cat", cats), ("dog", dogs)):
        for number in range(count):
            picture(root / name / f"{number}.png", 16 + number, 10 * number)
    return root


def test_a_data_set_is_counted_and_measured(tmp_path: Path) -> None:
    root = pictures(tmp_path / "set", cats=6, dogs=5)
    counts, sizes = images.check_images(str(root), tmp_path / "cache")
    assert "11 images (train 11), 2 classes: cat, dog" in counts.says
    assert "16×20 to 21×25 px" in sizes.says


def test_files_that_are_no_images_block_and_are_named(tmp_path: Path) -> None:
    root = pictures(tmp_path / "set", cats=6, dogs=6)
    (root / "cat" / "notes.txt").write_text("not a cat")
    *_, last = images.check_images(str(root), tmp_path / "cache")
    assert last.state == "blocked"
    assert "1 files" in last.says
    assert "notes.txt" in last.says


def test_a_lopsided_data_set_is_a_warning(tmp_path: Path) -> None:
    root = pictures(tmp_path / "set", cats=50, dogs=5)
    findings = list(images.check_images(str(root), tmp_path / "cache"))
    assert states(findings) == ["ok", "ok", "warning"]
    assert "cat has 50 images, dog only 5" in findings[-1].says


def test_a_class_with_too_few_images_blocks(tmp_path: Path) -> None:
    root = pictures(tmp_path / "set", cats=5, dogs=1)
    assert "blocked" in states(images.check_images(str(root), tmp_path / "cache"))


def test_an_unknown_data_set_is_a_finding(tmp_path: Path) -> None:
    finding = only(images.check_images("digis", tmp_path))
    assert finding.state == "blocked"
    assert "Did you mean 'digits'" in finding.says


def test_a_check_that_breaks_is_a_finding_after_what_it_found() -> None:
    def breaks() -> Iterator[Finding]:
        yield ok("thing", "half")
        raise ZeroDivisionError("the other half")

    first, second = doctor._carried_out("thing", breaks)
    assert (first.says, second.state) == ("half", "blocked")
    assert "ZeroDivisionError: the other half" in second.says


def test_a_line_a_finding_and_the_verdict() -> None:
    diagnosis = Diagnosis(
        findings=(ok("a", "fine"), warning("bcd", "so so", "do x"), blocked("e", "bad", "do y"))
    )
    assert list(diagnosis_lines(diagnosis)) == [
        "ok       a    fine",
        "warning  bcd  so so -> do x",
        "blocked  e    bad -> do y",
        "not ready: 1 to mend",
    ]


@pytest.mark.parametrize(
    ("finding", "code"), [(warning("a", "b", "c"), 0), (blocked("a", "b", "c"), 4)]
)
def test_the_exit_code_says_whether_a_run_can_work(
    finding: Finding, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "diagnose", lambda **options: Diagnosis(findings=(finding,)))
    assert main(["doctor", "--json"]) == code
    assert json.loads(capsys.readouterr().out)["ready"] is (code == 0)
