import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from orchestrator.errors import NotReady
from orchestrator.journal import open_journal, read_events
from orchestrator.reporting.report import write_report
from orchestrator.run_dir import RunDir
from tests.factories import ListStage, task
from tests.journals import failed, proposed, started, write_run
from tests.simulated_search import search_plan, simulated_search


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    run_dir = simulated_search(tmp_path_factory.mktemp("search"), search_plan())
    write_report(run_dir)
    return run_dir


def sections(run_dir: RunDir) -> list[str]:
    return re.findall(r"^## (.*)$", run_dir.report.read_text(), re.MULTILINE)


def test_a_finished_search_is_told_from_question_to_origin(finished: RunDir) -> None:
    assert sections(finished) == [
        "Question",
        "Answer",
        "Controls",
        "The winner's family",
        "The race",
        "The other candidates",
        "Recipe",
        "Plan and spent",
        "Go on",
        "Origin",
    ]


def test_the_verdict_comes_first_and_every_network_is_there(finished: RunDir) -> None:
    document = json.loads(finished.result("search-scaling").read_text())
    text = finished.report.read_text()
    assert text.splitlines()[2] == f"**{document['verdict']['sentence']}**"
    assert text.count("| complete |") + text.count("| pruned |") == len(document["results"]) + 2


def test_every_figure_that_is_shown_lies_beside_the_report(finished: RunDir) -> None:
    links = re.findall(r"!\[.*\]\((.*)\)", finished.report.read_text())
    assert links == ["figures/accuracy.png", "figures/family.png", "figures/ranks.png"]
    assert all((finished.root / link).read_bytes().startswith(b"\x89PNG") for link in links)


def test_the_report_is_rebuilt_byte_for_byte(finished: RunDir) -> None:
    def content() -> dict[str, bytes]:
        files = [finished.report, *sorted(finished.figures.iterdir())]
        return {file.name: file.read_bytes() for file in files}

    before = content()
    finished.report.unlink()
    shutil.rmtree(finished.figures)
    write_report(finished)
    assert content() == before


def test_what_was_spent_is_counted_from_the_journal(finished: RunDir) -> None:
    events = [event for event, _ in read_events(finished.journal)[0]]
    trials = sum(event["event"] == "proposed" for event in events)
    epochs = sum(event["event"] == "report" for event in events)
    text = finished.report.read_text()
    assert re.search(rf"^\| trials \| \d+ \| {trials} \|$", text, re.MULTILINE)
    assert re.search(rf"^\| epochs \| \d+ \| {epochs} \|$", text, re.MULTILINE)


def commands(run_dir: RunDir) -> list[str]:
    return re.findall(r"^orchestrator search-scaling .*$", run_dir.report.read_text(), re.MULTILINE)


def test_the_command_to_go_on_says_what_is_no_default(finished: RunDir) -> None:
    same, more = commands(finished)
    begin = f"orchestrator search-scaling --run-dir {shlex.quote(str(finished.root))} --epochs 8"
    assert same == f"{begin} --seeds 3 --runner inline"
    document = json.loads(finished.result("search-scaling").read_text())
    assert more == f"{begin} --seeds {document['verdict']['seeds_to_separate']} --runner inline"


def test_a_search_that_is_under_way_is_reported_as_far_as_it_came(tmp_path: Path) -> None:
    run_dir = simulated_search(tmp_path, search_plan(controls=()), conclude=False)
    text = write_report(run_dir).read_text()
    assert "**search-scaling has no result yet.**" in text
    assert "It takes up where it stopped" in text
    assert not run_dir.figures.exists()


def test_a_search_without_a_race_has_no_ranks(tmp_path: Path) -> None:
    run_dir = simulated_search(tmp_path, search_plan(halving=None, controls=()))
    text = write_report(run_dir).read_text()
    assert "nobody was dropped" in text
    assert "ranks.png" not in text
    assert "Controls" not in sections(run_dir)


def test_failures_are_named(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, [[proposed(0), started(0), failed(0)]])
    run_dir.result("search-scaling").unlink()
    assert "| 0 | α 1.1, β 1.0, γ 1.2 | ValueError: no |" in write_report(run_dir).read_text()


def test_a_stage_without_a_chapter_is_reported_by_its_trials(tmp_path: Path) -> None:
    run_dir = RunDir(tmp_path)
    stage = ListStage((task("a"),))
    with open_journal(run_dir) as (journal, _):
        asked = {"event": "stage", "stage": stage.name, "question": {"which": "a"}}
        journal.append([asked, {"event": "proposed", "number": 0, **stage.specs[0].to_json()}])
    text = write_report(run_dir).read_text()
    assert '"which": "a"' in text
    assert "- trials: 1 waiting" in text


def test_a_report_that_cannot_be_written_says_where(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path, [])
    run_dir.result("search-scaling").unlink()
    run_dir.report.mkdir()
    (run_dir.report / "in the way").touch()
    with pytest.raises(NotReady, match=r"report: .*report\.md"):
        write_report(run_dir)
