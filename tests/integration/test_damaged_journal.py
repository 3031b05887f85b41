"""A journal with a line that nobody can read any more, wherever it is: the search is made whole."""

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from orchestrator.halving import plan_rungs
from orchestrator.history import read_history
from orchestrator.run_dir import RunDir
from orchestrator.stages.scaling_plan import STAGE, ScalingPlan
from search_spaces.screening import screen
from tests.simulated_search import START, search_plan, simulated_search

SCREENING = screen(START, target=Fraction(2), step=Fraction(1, 5))


def small_plan() -> ScalingPlan:
    """A few candidates, two rungs."""
    rungs = plan_rungs(4, len(SCREENING.candidates), num_finalists=2)
    recipe = search_plan().recipe.with_(epochs=4)
    changes: dict[str, Any] = {"halving": rungs, "recipe": recipe, "num_seeds": 2, "controls": ()}
    return search_plan(screening=SCREENING, **changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    simulated_search(root, small_plan())
    return root


def damaged(whole: Path, root: Path, line: int, *, keep: float) -> RunDir:
    """The run of `whole`, its journal cut after a part of its lines, one of them unreadable."""
    shutil.copytree(whole / "run", root / "run")
    run_dir = RunDir(root / "run")
    lines = run_dir.journal.read_bytes().splitlines(keepends=True)
    lines[line] = b"\x00" * (len(lines[line]) - 1) + b"\n"
    run_dir.journal.write_bytes(b"".join(lines[: max(line + 2, int(keep * len(lines)))]))
    return run_dir


def result(run_dir: RunDir) -> dict[str, Any]:
    """The document without what was only estimated."""
    document: dict[str, Any] = json.loads(run_dir.result(STAGE).read_text())
    return document


def count_lines(whole: Path) -> int:
    return len(RunDir(whole / "run").journal.read_bytes().splitlines())


@pytest.mark.parametrize("keep", [0.0, 0.6, 1.0])
def test_a_search_with_any_one_line_unreadable_comes_to_the_same_document(
    whole: Path, tmp_path: Path, keep: float
) -> None:
    expected = result(RunDir(whole / "run"))
    for line in range(count_lines(whole)):
        root = tmp_path / str(line)
        run_dir = damaged(whole, root, line, keep=keep)
        simulated_search(root, small_plan())
        assert result(run_dir) == expected, (
            RunDir(whole / "run").journal.read_bytes().splitlines()[line]
        )
        numbers = [trial.number for trial in read_history(run_dir.journal).trials()]
        assert len(numbers) == len(set(numbers))
