"""What each rung of an ablation reaches, and beside it what its trick bought."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from orchestrator.reporting.figures.arms import draw_arm
from orchestrator.reporting.figures.canvas import (
    BLUE,
    DARK,
    DPI,
    ORANGE,
    PERCENT,
    Style,
    handle,
    plain,
    save,
)

WORDS: Mapping[str, Style] = {
    "helps": Style(BLUE, "^", "helps"),
    "hurts": Style(ORANGE, "v", "hurts"),
    "cannot tell": Style(DARK, "o", "cannot tell"),
}
POINTS = FuncFormatter(lambda value, _: f"{value:+g}" if value else "0")
_LONGEST = 44
"""Letters of a label's line."""
_LETTER, _LINE, _PANEL = 0.075, 0.15, 3.4
"""Width of a letter, height of a line of a label, and width of a panel, in inches."""


def draw_gains(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Each rung's top-1 with its runs, and the paired gain of its comparison with the word for it.

    The rows are those of the result, in its order, named as they are to be labelled. Intervals
    are of 95 %.
    """
    labels = [_folded(row["name"]) for row in rows]
    lines = [line for label in labels for line in label.splitlines()]
    pitch = max(0.3, _LINE * max(label.count("\n") + 1 for label in labels) + 0.06)
    width = 2 * _PANEL + _LETTER * max(map(len, lines))
    figure = Figure(figsize=(width, 1.3 + pitch * len(rows)), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    reached, bought = figure.subplots(1, 2, sharey=True)
    for axes in (reached, bought):
        plain(axes)
        axes.tick_params(axis="y", length=0)
    reached.set_yticks(range(len(rows)), labels, fontsize=9)
    reached.set_ylim(len(rows) - 0.4, -0.6)
    _draw_accuracies(reached, rows)
    _draw_gains(bought, rows)
    if handles := _legend(rows):
        figure.legend(
            handles=handles,
            loc="outside upper right",
            ncols=len(handles),
            frameon=False,
            fontsize=9,
        )
    save(figure, path, around=True)


def _draw_accuracies(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    for place, row in enumerate(rows):
        if row["mean"] is not None:
            draw_arm(axes, place, row, color=DARK, size=6)
        else:
            _say(axes, place, "no accuracy")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("top-1, reporting split:\nmean, 95 % interval, and every run")


def _draw_gains(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    axes.axvline(0, color="black", lw=1, zorder=1.5)
    compared = [(place, row) for place, row in enumerate(rows) if row["gain"] is not None]
    for place, row in compared:
        _draw_gain(axes, place, row)
    if not compared:
        axes.set_xlim(-1, 1)
        _say(axes, (len(rows) - 1) / 2, "nothing to compare")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7))
    axes.xaxis.set_major_formatter(POINTS)
    axes.set_xlabel("what it bought, percentage points:\npaired gain, 95 % interval")


def _draw_gain(axes: Axes, place: int, row: Mapping[str, Any]) -> None:
    style, gain = WORDS[row["verdict"]], 100 * row["gain"]["mean"]
    low, high = (100 * limit for limit in row["gain"]["interval"])
    axes.plot([low, high], [place, place], color=style.color, lw=1.8, solid_capstyle="butt")
    axes.plot(gain, place, style.marker, color=style.color, ms=8, mec="white", mew=0.8, zorder=3)
    if row["beside"]:
        axes.annotate(
            "*",
            (high, place),
            xytext=(3, -2),  # the star stands high in its line
            textcoords="offset points",
            va="center",
            fontsize=12,
            color=style.color,
            annotation_clip=False,
        )


def _say(axes: Axes, place: float, text: str) -> None:
    """Words at the left of a row."""
    axes.text(
        0.03,
        place,
        text,
        transform=axes.get_yaxis_transform(),
        va="center",
        fontsize=8,
        fontstyle="italic",
        color=DARK,
        bbox={"boxstyle": "square,pad=0.2", "fc": "white", "ec": "none"},
    )


def _legend(rows: Sequence[Mapping[str, Any]]) -> list[Artist]:
    """The words that occur, and the star where there is one."""
    compared = [row for row in rows if row["gain"] is not None]
    said = {row["verdict"] for row in compared}
    handles = list[Artist]()
    for word, style in WORDS.items():
        if word in said:
            entry = handle(style)
            entry.set_label(style.legend)
            handles.append(entry)
    if any(row["beside"] for row in compared):
        handles.append(
            Line2D([], [], ls="", marker="$*$", color="black", ms=6, label="not the trick's alone")
        )
    return handles


def _folded(label: str) -> str:
    """In lines that are not too long, broken after a space or a plus as far as there are any."""
    lines = [""]
    for part in re.split(r"(?<=[+ ])", label):
        if lines[-1] and len(lines[-1]) + len(part) > _LONGEST:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)
