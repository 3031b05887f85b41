"""The same directory with another question: the change is said on one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from orchestrator.config.common import CommonConfig
from orchestrator.config.scaling import SearchScalingConfig
from orchestrator.run_dir import RunDir
from orchestrator.session import ask, open_session
from orchestrator.stages.asking import question
from tests.factories import ListStage


def asked(root: Path, config: CommonConfig, *, images: str = "f") -> str:
    """What a session says that asks with this configuration."""
    stage = replace(ListStage(()), question=question(config, images))
    with open_session(RunDir(root), command="toy", config=config) as session:
        return ask(session, stage)


def test_the_first_question_and_the_same_again_are_not_commented_on(tmp_path: Path) -> None:
    assert asked(tmp_path / "run", SearchScalingConfig()) == ""
    assert asked(tmp_path / "run", SearchScalingConfig()) == ""


def test_how_it_is_carried_out_is_no_other_question(tmp_path: Path) -> None:
    asked(tmp_path / "run", SearchScalingConfig())
    assert asked(tmp_path / "run", SearchScalingConfig(workers=2, keep_checkpoints="none")) == ""


def test_a_changed_grid_reuses_what_matches(tmp_path: Path) -> None:
    asked(tmp_path / "run", SearchScalingConfig())
    said = asked(tmp_path / "run", SearchScalingConfig(grid_step="0.1", seeds=5))
    assert said == (
        "asked anew with seeds 5 instead of the default, grid step 0.1 instead of 0.05; "
        "trials that match are not run again"
    )


def test_other_epochs_are_other_trials(tmp_path: Path) -> None:
    asked(tmp_path / "run", SearchScalingConfig(epochs=5))
    assert asked(tmp_path / "run", SearchScalingConfig(epochs=8)) == (
        "asked anew with epochs 8 instead of 5; "
        "with other epochs all trials are others: their schedule has another horizon"
    )


def test_other_images_are_said_without_their_fingerprints(tmp_path: Path) -> None:
    asked(tmp_path / "run", SearchScalingConfig())
    said = asked(tmp_path / "run", SearchScalingConfig(), images="g")
    assert said == "asked anew with other images; trials that match are not run again"
