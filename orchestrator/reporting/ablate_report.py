"""The chapter of a report that an ablation fills."""

from __future__ import annotations

from orchestrator.history import History
from orchestrator.reporting.ablate_tables import (
    PLANNED,
    RESULTS,
    SPEEDS,
    ladder_text,
    speed_text,
    with_speed,
)
from orchestrator.reporting.figure_rows import speed_points
from orchestrator.reporting.formats import counted, percent
from orchestrator.reporting.markdown import bullets, figure, paragraph, section, table
from orchestrator.reporting.tables import Row
from orchestrator.run_dir import RunDir


def ablate_chapter(document: Row, history: History, run_dir: RunDir) -> list[str]:
    """Draw the figures and return the chapter that shows them."""
    from orchestrator.reporting.figures.arms import draw_arms  # matplotlib takes most of a second
    from orchestrator.reporting.figures.speed import draw_speed

    trained = [_labelled(row) for row in document["results"] if row["mean"] is not None]
    best = max(trained, key=lambda row: row["mean"])["name"]
    draw_arms(trained, best, run_dir.figures / "ladder.png")
    ladder = figure("Accuracy of every rung, with 95 % intervals", "figures/ladder.png")
    fast = list[str]()
    if points := speed_points(document):
        draw_speed(points, run_dir.figures / "speed.png")
        fast = figure("Accuracy against measured images per second", "figures/speed.png")
    return [
        *paragraph(f"**{document['verdict']['sentence']}**"),
        *section("Question", _question(document)),
        *section("What each trick bought", ladder, table(RESULTS, document["results"])),
        *bullets(_said(document)),
        *section("Accuracy and speed", fast, table(SPEEDS, with_speed(document)), _how(document)),
        *section("Rungs", table(PLANNED, document["rungs"])),
    ]


def _labelled(row: Row) -> Row:
    tricks = " + ".join(row["compares"])
    named = "+".join(row["compares"]) in row["name"]
    return dict(row) if named else {**row, "name": f"{row['name']}  {tricks}"}


def _question(document: Row) -> list[str]:
    network, evidence = document["network"], document["evidence"]
    return paragraph("What does each of these tricks buy?") + bullets(
        (
            f"ladder: {ladder_text(document)}",
            f"network: {network['family']} at {network['resolution']} px, "
            f"{network['params']:,} parameters, {network['macs']:,} multiply-adds to begin with",
            f"each rung is trained with the same {counted(len(document['seeds']), 'seed')} on "
            f"{counted(evidence['train_images'], 'image')}",
            f"judged on {counted(evidence['num_images'], 'image')} of the reporting split, where "
            f"guessing gets {percent(evidence['chance'])}",
        )
    )


def _said(document: Row) -> list[str]:
    methods = dict.fromkeys(row["method"] for row in document["results"] if row["method"])
    gains = (row["gain"]["method"] for row in document["results"] if row["gain"])
    starred = any(row["beside"] for row in document["results"])
    return [
        *(row["sentence"] for row in document["results"] if row["sentence"]),
        *(f"intervals: 95 %, {method}" for method in methods),
        *(f"points: over the shared seeds, {method}" for method in dict.fromkeys(gains)),
        f"p-values corrected: {document['verdict']['correction']}",
        *(["\\*: not the trick's alone, see `beside` below"] if starred else []),
        *document["warnings"],
    ]


def _how(document: Row) -> list[str]:
    if document["speed"] is None:
        return []
    faster = (found["sentence"] for found in document["at_equal_accuracy"])
    return bullets((*faster, speed_text(document)))
