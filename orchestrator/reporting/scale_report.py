"""The chapter of a report that a trained family fills."""

from __future__ import annotations

from orchestrator.history import History
from orchestrator.reporting.figure_rows import mode_lines
from orchestrator.reporting.formats import counted, percent
from orchestrator.reporting.markdown import bullets, figure, paragraph, section, table
from orchestrator.reporting.scale_tables import COMPARISONS, MEMBERS, RESULTS, table_text
from orchestrator.reporting.tables import Row
from orchestrator.run_dir import RunDir


def scale_chapter(document: Row, history: History, run_dir: RunDir) -> list[str]:
    """Draw the figure and return the chapter that shows it."""
    from orchestrator.reporting import figures  # matplotlib takes most of a second

    figures.draw_modes(mode_lines(document), run_dir.figures / "family.png")
    drawn = figure(
        "Accuracy against multiply-adds with 95 % intervals, a line for each way of scaling",
        "figures/family.png",
    )
    return [
        *paragraph(f"**{document['verdict']['sentence']}**"),
        *section("Question", _question(document)),
        *section("Accuracy", drawn, table(RESULTS, document["results"]), _about(document)),
        *section("Compound against single axes", *_compared(document)),
        *section("Sizes", _about_sizes(document), table(MEMBERS, document["members"])),
    ]


def _question(document: Row) -> list[str]:
    start, evidence = document["baseline"], document["evidence"]
    return paragraph("How accurate do these networks become, trained from nothing?") + bullets(
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


def _compared(document: Row) -> list[list[str]]:
    rows = document["comparisons"]
    if not rows:
        return []
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
