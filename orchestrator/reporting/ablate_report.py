"""The chapter of a report that an ablation fills."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.history import History
from orchestrator.reporting.ablate_tables import (
    PLANNED,
    RESULTS,
    SPEEDS,
    ladder_text,
    speed_text,
    speed_warnings,
    with_speed,
)
from orchestrator.reporting.figure_rows import speed_points
from orchestrator.reporting.formats import counted, percent
from orchestrator.reporting.markdown import bullets, figure, paragraph, section, table
from orchestrator.reporting.tables import Row
from orchestrator.run_dir import RunDir

_FAST = (
    "Each network stands at its dot; where marks would hide each other they stand aside, joined to "
    "their dots. The lines run along the networks that no other one beats in both accuracy and "
    "speed: follow one across to see who is as accurate, and how much faster."
)


def ablate_chapter(document: Row, history: History, run_dir: RunDir) -> list[str]:
    """Draw the figures and return the chapter that shows them."""
    from orchestrator.reporting.figures.gains import draw_gains  # matplotlib takes most of a second
    from orchestrator.reporting.figures.speed import draw_speed

    rows = document["results"]
    draw_gains(labelled(document), run_dir.figures / "ladder.png")
    ladder = figure("Top-1 of every rung, and what its trick bought", "figures/ladder.png")
    fast = list[str]()
    if points := speed_points(document):
        draw_speed(points, run_dir.figures / "speed.png")
        fast = figure("Accuracy against measured images per second", "figures/speed.png")
        fast += paragraph(_FAST)
    return [
        *paragraph(f"**{document['verdict']['sentence']}**"),
        *section("Question", _question(document)),
        *section(
            "What each trick bought",
            ladder,
            _caption(document),
            _failed(rows),
            table(RESULTS, rows),
        ),
        *bullets(_said(document)),
        *section("Accuracy and speed", fast, table(SPEEDS, with_speed(document)), _how(document)),
        *section("Rungs", table(PLANNED, document["rungs"])),
    ]


def labelled(document: Row) -> list[Row]:
    """The rows of the result, each named as a figure names it: the rung, what it adds, and where
    that is not the rung above what it is compared with."""
    rows = document["results"]
    above = [None, *(row["name"] for row in rows)]
    return [
        {**row, "name": _label(row, other if document["design"] == "cumulative" else row["over"])}
        for row, other in zip(rows, above, strict=False)
    ]


def _label(row: Row, usual: str | None) -> str:
    named = "+".join(row["compares"]) in row["name"]
    adds = "" if named else f": {' + '.join(row['compares'])}"
    over = "" if row["over"] in (None, usual) else f" (over {row['over']})"
    return f"{row['name']}{adds}{over}"


def _caption(document: Row) -> list[str]:
    """What the figure of the rungs shows."""
    over = {
        "cumulative": "the rung less the one above it, or the one that is named",
        "leave-one-out": "the whole stack less the stack without the trick",
        "add-one": "the base with the trick less the base",
    }[document["design"]]
    return paragraph(
        "Left: top-1 of every rung on the reporting split, its mean, 95 % interval and every run. "
        f"Right: what the trick bought, {over}, paired by seed, with its 95 % interval. "
        "These intervals are those of one comparison; the words (helps, hurts, cannot tell) are "
        "corrected for all of them, so that an interval may end short of zero and the word still "
        "be *cannot tell*."
    )


def _failed(rows: Sequence[Row]) -> list[str]:
    """Which rungs have lost runs, and why."""
    return bullets(_lost(row) for row in rows if row["status"] == "failed")


def _lost(row: Row) -> str:
    left = f"{len(row['values'])} of {counted(len(row['keys']), 'run')} ended well"
    name, why = (" ".join(text.split()) for text in (row["name"], row["error"]))
    return f"**{name} failed**: {left}" + (f"; {why}" if why else "")


def _question(document: Row) -> list[str]:
    network, evidence = document["network"], document["evidence"]
    return paragraph("What does each of these tricks buy?") + bullets(
        (
            f"ladder: {ladder_text(document)}",
            f"network: {network['name']} at {network['resolution']} px, "
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
    return bullets((*faster, *speed_warnings(document), speed_text(document)))
