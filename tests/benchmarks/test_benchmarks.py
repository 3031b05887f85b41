import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.controller_cost import costs
from benchmarks.harness import Row, Skipped, in_turn

KEYS = {"name", "ours", "peer", "peer_name", "unit", "ratio", "goal", "holds", "environment"}


def row(name: str = "claim", *, ours: float = 2.0, goal: float = 2.0) -> Row:
    return Row(name=name, ours=ours, peer=6.0, peer_name="them", unit="s", goal=goal, bound="disk")


def one_claim(quick: bool) -> Iterator[Row]:
    yield row("one", ours=1.0 if quick else 2.0)


def skipped(quick: bool) -> Iterator[Row]:
    yield row("before")
    raise Skipped("no data here")


@pytest.fixture(autouse=True)
def _table(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "slow" not in request.keywords:
        monkeypatch.setattr(command, "BENCHMARKS", {"one": one_claim, "skipped": skipped})


def written(file: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(file.read_text(encoding="utf-8"))
    return rows


def test_a_ratio_says_how_many_times_better_ours_is_whichever_way_better_lies() -> None:
    assert row().ratio == 3.0
    rate = Row(name="r", ours=6, peer=2, peer_name="them", unit="1/s", goal=1, more_is_better=True)
    assert rate.ratio == 3.0


@pytest.mark.parametrize(("goal", "holds"), [(2.9, True), (3.0, True), (3.1, False)])
def test_a_claim_holds_from_its_goal_on_and_a_missed_one_says_why(goal: float, holds: bool) -> None:
    document = row(goal=goal).to_json("here")
    assert document["holds"] is holds
    assert document.get("why") == (None if holds else "disk")
    assert document.keys() - {"why"} == KEYS


def test_everybody_has_a_turn_in_every_round() -> None:
    turns: list[str] = []
    in_turn({"a": lambda: turns.append("a"), "b": lambda: turns.append("b")}, rounds=2)
    assert turns == ["a", "b", "a", "b"]


def test_the_cost_of_a_trial_is_that_of_its_group() -> None:
    ends = [0.002 * number for number in range(101)]
    assert costs(ends) == pytest.approx([0.002, 0.002])


def test_a_part_measured_again_replaces_its_rows_alone(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    file.write_text('[{"name": "one", "ours": 9.0}, {"name": "other"}]')
    command.main(["--only", "one", "--output", str(file)])
    assert [(r["name"], r.get("ours")) for r in written(file)] == [("other", None), ("one", 2.0)]


def test_a_benchmark_that_cannot_run_here_is_named_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "results.json"
    assert command.main(["--output", str(file)]) == 0
    assert "skipped skipped: no data here" in capsys.readouterr().out
    assert [r["name"] for r in written(file)] == ["one", "before"]


def test_a_quick_look_leaves_the_results_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "RESULTS", tmp_path / "results.json")
    command.main(["--quick"])
    assert not (tmp_path / "results.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "claims"),
    [
        ("screening", {"screening-seconds", "screening-per-candidate"}),
        ("augmentation", {"augmentation-images-per-second"}),
    ],
)
def test_a_cheap_benchmark_yields_its_claims(name: str, claims: set[str], tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    command.main(["--quick", "--only", name, "--output", str(file)])
    rows = written(file)
    if not rows:
        pytest.skip("the data set is not beside the repository")
    assert {r["name"] for r in rows} == claims
    for r in rows:
        assert r.keys() >= KEYS
        assert r["holds"] is (r["ratio"] >= r["goal"])  # type: ignore[operator]
        assert ("why" in r) is not r["holds"]
