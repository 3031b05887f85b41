"""The chapter of a report that a finished coefficient search fills."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.history import History
from orchestrator.reporting.figure_rows import (
    accuracy_dots,
    budget_of,
    family_members,
    rank_chart,
)
from orchestrator.reporting.formats import counted, decimal, percent
from orchestrator.reporting.markdown import bullets, figure, paragraph, section, table
from orchestrator.reporting.tables import CONTROLS, FAMILY, SCORES, Columns, Row
from orchestrator.run_dir import RunDir

RUNGS: Columns = {
    "after epoch": lambda row: str(row["epoch"]),
    "stood": lambda row: str(len(row["order"])),
    "went on": lambda row: str(len(row["promoted"])),
    "dropped": lambda row: str(len(row["stopped"])),
    "first": lambda row: row["order"][0],
    "why": lambda row: row["reason"],
}
MOVEMENT: Columns = {
    "from epoch": lambda row: str(row["from_epoch"]),
    "to epoch": lambda row: str(row["to_epoch"]),
    "networks": lambda row: str(row["num_trials"]),
    "Kendall's τ": lambda row: "" if row["correlation"] is None else f"{row['correlation']:.2f}",
    "the order": lambda row: row["word"],
}
RECIPE: Columns = {
    "epochs": lambda row: str(row["epochs"]),
    "batch": lambda row: str(row["batch_size"]),
    "lr": lambda row: f"{row['lr']:g}",
    "weight decay": lambda row: f"{row['weight_decay']:g}",
    "label smoothing": lambda row: f"{row['train']['label_smoothing']:g}",
    "EMA decay": lambda row: f"{row['train']['ema_decay']:g}",
    "crop": lambda row: row["train"]["augment"]["crop"],
    "flip": lambda row: "yes" if row["train"]["augment"]["flip"] else "no",
    "precision": lambda row: row["train"]["execution"]["precision"],
    "tuned first": lambda row: "yes" if row["tuned"] else "no",
}


def scaling_chapter(document: Row, history: History, run_dir: RunDir) -> list[str]:
    """Draw the figures and return the chapter that shows them."""
    names = _draw(document, history, run_dir)
    finalists = [row for row in document["results"] if row["finalist"]]
    others = [row for row in document["results"] if not row["finalist"]]
    return [
        *paragraph(f"**{document['verdict']['sentence']}**"),
        *section("Question", _question(document)),
        *section("Answer", _answer(document), names["accuracy"], table(SCORES, finalists)),
        *section("Controls", _about_controls(document), table(CONTROLS, document["controls"])),
        *section("The winner's family", names["family"], table(FAMILY, document["family"])),
        *section("The race", _race(document, names["ranks"])),
        *section("The other candidates", _about_others(others), table(SCORES, others)),
        *section("Recipe", _about_recipe(document), table(RECIPE, [document["recipe"]])),
    ]


def _draw(document: Row, history: History, run_dir: RunDir) -> dict[str, list[str]]:
    """The figures' Markdown by name; empty for one that has nothing to show."""
    from orchestrator.reporting.figures.family import (
        draw_family,
    )  # matplotlib takes most of a second
    from orchestrator.reporting.figures.search import draw_accuracy, draw_ranks

    folder = run_dir.figures
    names: dict[str, list[str]] = {"accuracy": [], "ranks": [], "family": []}
    draw_accuracy(
        accuracy_dots(document),
        folder / "accuracy.png",
        baseline_macs=document["baseline"]["macs"],
        budget=budget_of(document),
    )
    names["accuracy"] = figure(
        "Accuracy against multiply-adds with 95 % intervals", "figures/accuracy.png"
    )
    if chart := rank_chart(document, _at_horizon(document, history)):
        draw_ranks(chart, folder / "ranks.png")
        names["ranks"] = figure("Place of every network at each rung", "figures/ranks.png")
    if members := family_members(document):
        draw_family(members, folder / "family.png")
        names["family"] = figure("Cost, parameters and resolution over φ", "figures/family.png")
    return names


def _at_horizon(document: Row, history: History) -> dict[str, float]:
    """Where the race ended: the scores of those that were never dropped."""
    horizon = document["recipe"]["epochs"]
    scores = {}
    for row in document["results"]:
        trial = history.get(row["key"])
        score = trial.metric("top1", epoch=horizon) if trial else None
        if score is not None:
            scores[row["name"]] = score
    return scores


def _question(document: Row) -> list[str]:
    start, grid, limit = document["baseline"], document["grid"], document["constraint"]
    measure = "αβ²γ²" if limit["kind"] == "formula" else "counted multiply-adds"
    return paragraph(
        "Which depth α, width β and resolution γ are best for "
        f"{decimal(limit['target_ratio'])} ± {decimal(limit['tolerance'])} times the {measure} "
        f"of the baseline?"
    ) + bullets(
        (
            f"baseline: {start['name']} at width {decimal(start['width'])} and "
            f"{start['resolution']} px, {start['params']:,} parameters, "
            f"{start['macs']:,} multiply-adds",
            f"grid: {counted(grid['points'], 'point')}, of which {grid['within_formula']:,} keep "
            f"to the budget by the formula and {grid['within_counted']:,} counted: "
            f"{counted(grid['distinct'], 'distinct network')}",
            f"judged on: {counted(document['evidence']['num_images'], 'image')} of the selection "
            f"split, where guessing gets {percent(document['evidence']['chance'])}",
        )
    )


def _answer(document: Row) -> list[str]:
    winner, verdict = document["winner"], document["verdict"]
    said = [
        f"winner: **{winner['name']}**, {percent(winner['mean'])} over "
        f"{counted(len(winner['seeds']), 'fresh seed')}",
        f"as good, for all that is known: {_names(document['ties'])}",
    ]
    if verdict.get("fastest_tie"):
        said.append(f"fastest to train among these: {verdict['fastest_tie']}")
    if verdict.get("seeds_to_separate"):
        said.append(f"seeds that would tell the first two apart: {verdict['seeds_to_separate']}")
    said.append(f"intervals: 95 %, {winner['method']}")
    return bullets(said)


def _about_controls(document: Row) -> list[str]:
    if not document["controls"]:
        return []
    return paragraph(
        "Trained like the finalists. The published coefficients cost what they cost here, which "
        "need not be the budget."
    )


def _race(document: Row, drawn: list[str]) -> list[str]:
    rungs = document["rungs"]
    if not rungs:
        return paragraph("Every candidate was run to the end with every seed; nobody was dropped.")
    return [*drawn, *table(RUNGS, rungs["decisions"]), *table(MOVEMENT, rungs["movement"])]


def _about_others(others: list[Mapping[str, Any]]) -> list[str]:
    if not others:
        return []
    return paragraph(
        "One run each, at the epoch it ended: enough to rank them at the rungs, not to compare "
        "them with the finalists."
    )


def _about_recipe(document: Row) -> list[str]:
    return paragraph("The same for every network; `result.json` has it whole, under `recipe`.")


def _names(rows: list[Row]) -> str:
    return ", ".join(row["name"] for row in rows) or "none"
