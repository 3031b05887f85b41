"""Killed after any line, or any line made unreadable: a search is made whole from what is left."""

import json
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from orchestrator.history import read_history
from orchestrator.run_dir import RunDir
from orchestrator.selection.halving import plan_rungs
from orchestrator.stages.scaling.plan import STAGE, ScalingPlan
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


def copy_of(whole: Path, root: Path) -> tuple[RunDir, list[bytes]]:
    """The run of `whole` in another place, and the lines of its journal."""
    shutil.copytree(whole / "run", root / "run")
    run_dir = RunDir(root / "run")
    return run_dir, run_dir.journal.read_bytes().splitlines(keepends=True)


def assert_made_whole(whole: Path, run_dir: RunDir, *, after: bytes) -> None:
    """Go on with the run: the same document, and no number given twice."""
    simulated_search(run_dir.root.parent, small_plan())
    documents = [
        json.loads(run.result(STAGE).read_text()) for run in (RunDir(whole / "run"), run_dir)
    ]
    assert documents[0] == documents[1], after
    numbers = [trial.number for trial in read_history(run_dir.journal).trials()]
    assert len(numbers) == len(set(numbers)), after


def test_a_search_killed_after_any_line_comes_to_the_same_document(
    whole: Path, tmp_path: Path
) -> None:
    number_of_lines = len(RunDir(whole / "run").journal.read_bytes().splitlines())
    for line in range(number_of_lines):
        run_dir, lines = copy_of(whole, tmp_path / str(line))
        run_dir.journal.write_bytes(b"".join(lines[: line + 1]))
        assert_made_whole(whole, run_dir, after=lines[line])


@pytest.mark.parametrize("killed", [True, False])
def test_a_search_with_any_line_unreadable_comes_to_the_same_document(
    whole: Path, tmp_path: Path, killed: bool
) -> None:
    number_of_lines = len(RunDir(whole / "run").journal.read_bytes().splitlines())
    for line in range(number_of_lines):
        run_dir, lines = copy_of(whole, tmp_path / str(line))
        zeros = b"\x00" * (len(lines[line]) - 1) + b"\n"
        rest = lines[line + 1 : line + 3 if killed else None]
        run_dir.journal.write_bytes(b"".join([*lines[:line], zeros, *rest]))
        assert_made_whole(whole, run_dir, after=lines[line])
