import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.reporting.figure_rows import (
    accuracy_dots,
    budget_of,
    dodges,
    family_members,
    rank_chart,
)
from tests.simulated_search import search_plan, simulated_search


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run_dir = simulated_search(tmp_path_factory.mktemp("search"), search_plan())
    result: dict[str, Any] = json.loads(run_dir.result("search-scaling").read_text())
    return result


def test_finalists_are_numbered_controls_lettered_and_the_others_neither(
    document: dict[str, Any],
) -> None:
    dots = accuracy_dots(document)
    assert [dot.tag for dot in dots] == ["1", "2", "3", "P", "U", "", ""]
    assert [dot.kind for dot in dots[3:]] == ["control", "control", "dropped", "dropped"]


def test_the_winner_and_its_ties_are_marked(document: dict[str, Any]) -> None:
    kinds = [dot.kind for dot in accuracy_dots(document)[:3]]
    assert kinds[0] == "winner"
    assert kinds.count("tie") == len(document["ties"])
    tied = {**document, "ties": [row for row in document["results"] if row["finalist"]][1:]}
    assert [dot.kind for dot in accuracy_dots(tied)[:3]] == ["winner", "tie", "tie"]


def test_a_dot_is_the_rows_cost_mean_and_interval(document: dict[str, Any]) -> None:
    row, dot = document["results"][0], accuracy_dots(document)[0]
    assert (dot.macs, dot.mean, list(dot.interval)) == (row["macs"], row["mean"], row["interval"])


def test_what_came_to_no_accuracy_is_left_out(document: dict[str, Any]) -> None:
    rows = [{**row, "mean": None} for row in document["results"] if not row["finalist"]]
    finalists = [row for row in document["results"] if row["finalist"]]
    lost = {**document, "results": finalists + rows, "controls": []}
    assert len(accuracy_dots(lost)) == len(finalists)


def test_the_budget_is_a_range_of_counted_macs_and_none_for_a_formula(
    document: dict[str, Any],
) -> None:
    budget, macs = budget_of(document), document["baseline"]["macs"]
    assert budget is not None
    assert (budget.low, budget.high) == pytest.approx((1.9 * macs, 2.1 * macs))
    assert all(budget.low <= row["macs"] <= budget.high for row in document["candidates"])
    by_formula = {**document, "constraint": {**document["constraint"], "kind": "formula"}}
    assert budget_of(by_formula) is None


def small_race() -> dict[str, Any]:
    """Of a, b, c, d the last two are dropped, c at the first rung and d at the second."""
    rows = [
        {"name": name, "alpha": 1.0, "beta": 1.0, "gamma": 1.0, "finalist": name in "ab"}
        for name in "badc"
    ]
    orders = [{"epoch": 2, "order": ["a", "d", "b", "c"]}, {"epoch": 4, "order": ["b", "a", "d"]}]
    return {
        "rungs": {"decisions": orders},
        "results": rows,
        "winner": {"name": "b", "seeds": [1, 2]},
        "ties": [],
        "recipe": {"epochs": 8},
    }


def test_a_candidates_places_end_where_it_was_dropped() -> None:
    chart = rank_chart(small_race(), {"a": 0.9, "b": 0.8})
    assert chart is not None
    assert chart.steps == ("epoch 2", "epoch 4", "epoch 8", "2 fresh seeds")
    assert [line.ranks for line in chart.lines] == [(3, 1, 2, 1), (1, 2, 1, 2), (2, 3), (4,)]
    assert [line.kind for line in chart.lines] == ["winner", "finalist", "dropped", "dropped"]


def test_there_is_no_chart_without_a_race() -> None:
    assert rank_chart({**small_race(), "rungs": None}, {}) is None


def test_every_rung_ranks_everybody_who_stood_there(document: dict[str, Any]) -> None:
    chart = rank_chart(document, {})
    assert chart is not None
    first = sorted(line.ranks[0] for line in chart.lines)
    assert first == list(range(1, len(document["candidates"]) + 1))


def test_the_family_grows_with_phi_beside_what_was_promised(document: dict[str, Any]) -> None:
    members = family_members(document)
    assert [member.phi for member in members] == [1, 2, 3, 4, 5, 6, 7]
    ratio = document["winner"]["macs_ratio"]
    assert [m.target_ratio for m in members] == pytest.approx([ratio**phi for phi in range(1, 8)])
    assert members[0].macs_ratio == ratio


def test_marks_on_one_spot_are_moved_apart_and_others_stay() -> None:
    assert dodges([(0, 0), (0, 0), (5, 100), (40, 0)], apart=10) == [0, 10, 0, 0]


def test_a_moved_mark_does_not_land_on_the_next() -> None:
    places = [(0.0, 0.0), (1.0, 0.0), (9.0, 0.0)]
    moved = [x + shift for (x, _), shift in zip(places, dodges(places, apart=10), strict=True)]
    assert moved == [0, 10, 20]


def test_figures_are_drawn_from_rows_alone(document: dict[str, Any], tmp_path: Path) -> None:
    from orchestrator.reporting.figures.family import draw_family
    from orchestrator.reporting.figures.search import draw_accuracy, draw_ranks

    paths = [tmp_path / name for name in ("accuracy.png", "ranks.png", "family.png")]
    draw_accuracy(accuracy_dots(document), paths[0], baseline_macs=1, budget=None)
    chart = rank_chart(document, {})
    assert chart is not None
    draw_ranks(chart, paths[1])
    draw_family(family_members(document), paths[2])
    assert [path.read_bytes()[:4] for path in paths] == [b"\x89PNG"] * 3
