"""The chapter of a report that a resolution adaptation fills."""

from __future__ import annotations

from orchestrator.history import History
from orchestrator.reporting.figure_rows import resolution_charts
from orchestrator.reporting.fixres_tables import LOWER, RESULTS, SWEEP, TRIED
from orchestrator.reporting.formats import counted, percent
from orchestrator.reporting.markdown import bullets, figure, paragraph, section, table
from orchestrator.reporting.tables import Row
from orchestrator.run_dir import RunDir


def fixres_chapter(document: Row, history: History, run_dir: RunDir) -> list[str]:
    """Draw the figures and return the chapter that shows them."""
    from orchestrator.reporting.figures.resolutions import (
        draw_resolutions,
    )  # matplotlib takes most of a second

    drawn = list[str]()
    for chart in resolution_charts(document):
        path = f"figures/{chart.file}"
        draw_resolutions(chart, run_dir.root / path)
        drawn += figure(f"{chart.name}: accuracy against test resolution, 95 % intervals", path)
    return [
        *paragraph(f"**{document['verdict']['sentence']}**"),
        *section("Question", _question(document)),
        *section("Result", table(RESULTS, document["results"]), _about(document)),
        *section("Trained lower and adapted", *_lower(document)),
        *section("Test resolutions", drawn, table(SWEEP, document["sweep"]), _how(document)),
        *section("Adaptations", table(TRIED, document["tried"]), _chosen(document)),
        *section("Models", _models(document)),
    ]


def _question(document: Row) -> list[str]:
    evidence = document["evidence"]
    asked = "At which test resolution are these trained networks best, and does adapting them help?"
    networks = (
        f"{row['name']}: trained at {row['train_resolution']} px with "
        f"{counted(len(row['seeds']), 'seed')}, tested at "
        f"{', '.join(map(str, row['resolutions']))} px"
        for row in document["networks"]
    )
    return paragraph(asked) + bullets(
        (
            *networks,
            f"adaptations: {', '.join(document['adaptations'])}; they learn from "
            f"{counted(evidence['train_images'], 'training image')}",
            f"resolution and adaptation are chosen on "
            f"{counted(evidence['selection_images'], 'image')} of the selection split",
            f"what was chosen is judged once, on {counted(evidence['reporting_images'], 'image')} "
            f"of the reporting split, where guessing gets {percent(evidence['chance'])}",
        )
    )


def _about(document: Row) -> list[str]:
    shown = [row[when] for row in document["results"] for when in ("before", "after") if row[when]]
    methods = dict.fromkeys(row["method"] for row in shown)
    return bullets(
        (
            *(row["sentence"] for row in document["results"]),
            *document["warnings"],
            *(f"intervals: 95 %, {method}" for method in methods),
            "points: paired over the same images, against the unadapted network at its train "
            "resolution",
        )
    )


def _lower(document: Row) -> list[list[str]]:
    rows = document["lower"]
    if not rows:
        return []
    return [
        table(LOWER, rows),
        bullets(
            (
                *(row["sentence"] for row in rows),
                "hours: of training and the chosen adaptation, one seed; `trying` is what the "
                "sweep and all adaptations took beside that, all seeds together",
            )
        ),
    ]


def _how(document: Row) -> list[str]:
    return bullets(
        (
            "the crop's part of the resized image is the same at every resolution",
            "enlarged: images whose shorter side is stored with fewer pixels than it is shown with",
            "images/s: through the network alone, without reading and resizing",
        )
        if document["sweep"]
        else ()
    )


def _chosen(document: Row) -> list[str]:
    if not document["tried"]:
        return []
    return bullets(
        (
            "best: the resolution with the highest mean, for each adaptation; chosen: of all",
            "points are too good by having been chosen; the reporting split above is not",
        )
    )


def _models(document: Row) -> list[str]:
    return bullets(
        f"`{row['path']}`: {row['name']}, seed {row['seed']}, for {row['test_resolution']} px "
        f"({row['adapt']})"
        for row in document["models"]
    )
