"""The chapter of a report that a trained family fills."""

from __future__ import annotations

from orchestrator.history import History
from orchestrator.reporting.figure_rows import mode_lines
from orchestrator.reporting.formats import counted, percent
from orchestrator.reporting.markdown import bullets, figure, paragraph, section, table
from orchestrator.reporting.scale_tables import (
    COMPARISONS,
    MEMBERS,
    RESULTS,
    table_text,
    weights_text,
)
from orchestrator.reporting.tables import Row
from orchestrator.run_dir import RunDir


def scale_chapter(document: Row, history: History, run_dir: RunDir) -> list[str]:
    """Draw the figure and return the chapter that shows it."""
    from orchestrator.reporting.figures.arms import draw_arms  # matplotlib takes most of a second
    from orchestrator.reporting.figures.family import draw_modes

    path = run_dir.figures / "family.png"
    if document["table"] == "given":
        trained = [row for row in document["results"] if row["mean"] is not None]
        draw_arms(trained, document["members"][0]["name"], path)
        says = "Accuracy begun from the weights and from nothing, with 95 % intervals"
    else:
        draw_modes(mode_lines(document), path)
        says = "Accuracy against multiply-adds with 95 % intervals, a line for each way of scaling"
    drawn = figure(says, "figures/family.png")
    return [
        *paragraph(f"**{document['verdict']['sentence']}**"),
        *section("Question", _question(document)),
        *section("Accuracy", drawn, table(RESULTS, document["results"]), _about(document)),
        *section(_compared_title(document), *_compared(document)),
        *section("Sizes", _about_sizes(document), table(MEMBERS, document["members"])),
    ]


def _question(document: Row) -> list[str]:
    start, evidence = document["baseline"], document["evidence"]
    begun = document.get("weights")
    how = weights_text(begun) if begun else "trained from nothing"
    return paragraph(f"How accurate do these networks become, {how}?") + bullets(
        (
            f"sizes: {table_text(document)}",
            f"baseline: {start['name']} at {start['resolution']} px, {start['params']:,} "
            f"parameters, {start['macs']:,} multiply-adds",
            f"each is trained with {counted(len(document['seeds']), 'fresh seed')} for "
            f"{counted(document['recipe']['epochs'], 'epoch')} on "
            f"{counted(evidence['train_images'], 'image')}",
            f"judged on {counted(evidence['num_images'], 'image')} of the reporting split, where "
            f"guessing gets {percent(evidence['chance'])}",
        )
    )


def _about(document: Row) -> list[str]:
    methods = dict.fromkeys(row["method"] for row in document["results"] if row["method"])
    return bullets(f"intervals: 95 %, {method}" for method in methods)


def _compared_title(document: Row) -> str:
    given = document["table"] == "given"
    return "Against training from nothing" if given else "Compound against single axes"


def _compared(document: Row) -> list[list[str]]:
    rows = document["comparisons"]
    if not rows:
        return []
    if document["table"] == "given":
        return [table(COMPARISONS, rows), bullets(row["sentence"] for row in rows)]
    return [
        paragraph(
            "Depth, width or resolution grown alone to the network whose counted multiply-adds "
            "are nearest the compound one's; `off` says how near."
        ),
        table(COMPARISONS, rows),
        bullets(row["sentence"] for row in rows),
        paragraph(f"Intervals: 95 %, each by itself; {rows[0]['method']}."),
    ]


def _about_sizes(document: Row) -> list[str]:
    said = ["memory: an estimate of weights, gradients, optimizer, average and activations"]
    if document["table"] == "exact":
        said.append("B1, B2, … are φ = 1, 2, … here; the published sizes of that name are others")
    return bullets([*said, *document["warnings"]])
