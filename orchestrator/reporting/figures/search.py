"""Figures of a search among scaled networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from orchestrator.reporting.figure_rows import Budget, Dot, Kind, RankChart, RankLine
from orchestrator.reporting.figures.canvas import (
    BLUE,
    DARK,
    ORANGE,
    PALE,
    PERCENT,
    SKY,
    Mark,
    Style,
    draw_marks,
    figure_of,
    handle,
    legend_beside,
    save,
)

MOST_LABELS = 45
"""Lines of a rank chart that are all named; of more, only the finalists are."""

STYLES: Mapping[Kind, Style] = {
    "winner": Style(BLUE, "o", "winner"),
    "tie": Style(SKY, "s", "tie: may be as good"),
    "finalist": Style(DARK, "h", "finalist, told apart"),
    "control": Style(ORANGE, "D", "control"),
    "dropped": Style(PALE, ".", "no finalist: one run,\nas far as it went"),
}


def draw_accuracy(
    dots: Sequence[Dot], path: Path, *, baseline_macs: int, budget: Budget | None
) -> None:
    """Accuracy against multiply-adds, 95 % intervals; who is who stands at the side."""
    figure, axes = figure_of(9.2, 4.8)
    if budget:
        axes.axvspan(budget.low / 1e6, budget.high / 1e6, color="#F2F2F2", zorder=0, lw=0)
    compared = [dot for dot in dots if dot.kind != "dropped"]
    low, high = _range(compared)
    axes.set_ylim(low, high)
    for dot in dots:
        if dot.kind == "dropped":
            _draw_dropped(axes, dot, floor=low + 0.02 * (high - low))
    _make_room(axes, [dot.macs / 1e6 for dot in dots])
    axes.set_xlabel("multiply-adds (millions)")
    axes.set_ylabel("top-1, selection split")
    axes.yaxis.set_major_formatter(PERCENT)
    millions = baseline_macs / 1e6
    beside = axes.secondary_xaxis(
        "top",
        functions=(lambda macs: np.divide(macs, millions), lambda x: np.multiply(x, millions)),
    )
    beside.set_xlabel("times the baseline" + (" (shaded: the budget)" if budget else ""))
    _name_dots(axes, dots)
    draw_marks(figure, axes, [_mark(dot) for dot in compared])
    save(figure, path)


def draw_ranks(chart: RankChart, path: Path) -> None:
    """The place of every candidate from rung to rung; a line ends where one was dropped."""
    count = len(chart.lines)
    figure, axes = figure_of(
        max(6.5, 2.6 + 1.4 * len(chart.steps)), min(max(2.6, 0.24 * count), 14)
    )
    for line in reversed(chart.lines):  # the finalists on top of the others
        _draw_line(axes, line, wide=count > MOST_LABELS)
    for line in chart.lines:
        if count <= MOST_LABELS or line.kind != "dropped":
            _name_line(axes, line, last=len(chart.steps) - 1)
    axes.set_xticks(range(len(chart.steps)), chart.steps)
    axes.set_ylim(count + 0.7, 0.3)
    axes.set_xlim(-0.1, len(chart.steps) - 0.9)
    step = 1 if count <= 12 else 5 if count <= 60 else 25
    axes.set_yticks([1, *range(step, count + 1, step)] if step > 1 else range(1, count + 1))
    axes.xaxis.tick_top()
    axes.set_ylabel("place")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    save(figure, path)


def _range(dots: Sequence[Dot]) -> tuple[float, float]:
    low = min(dot.interval[0] for dot in dots)
    high = max(dot.interval[1] for dot in dots)
    room = 0.08 * max(high - low, 0.01)
    return low - room, high + room


def _make_room(axes: Axes, values: Sequence[float]) -> None:
    room = 0.1 * (max(values) - min(values)) or 0.1 * max(values)
    axes.set_xlim(min(values) - room, max(values) + room)


def _mark(dot: Dot) -> Mark:
    return Mark(
        tag=dot.tag,
        x=dot.macs / 1e6,
        mean=dot.mean,
        interval=dot.interval,
        style=STYLES[dot.kind],
        tag_color="black" if dot.kind == "tie" else "white",
    )


def _draw_dropped(axes: Axes, dot: Dot, *, floor: float) -> None:
    """A pale point; at the edge, pointing down, where the accuracy lies below the picture."""
    below = dot.mean < floor
    axes.plot(
        dot.macs / 1e6,
        floor if below else dot.mean,
        marker="v" if below else ".",
        color=PALE,
        ms=6 if below else 8,
        zorder=1,
    )


def _name_dots(axes: Axes, dots: Sequence[Dot]) -> None:
    """A legend of every numbered network, and one entry for all those that were dropped."""
    handles, labels = [], []
    for dot in dots:
        if dot.kind != "dropped":
            handles.append(handle(STYLES[dot.kind]))
            tie = " (tie)" if dot.kind == "tie" else ""
            labels.append(f"{dot.tag}  {dot.label}{tie}")
    if any(dot.kind == "dropped" for dot in dots):
        handles.append(handle(STYLES["dropped"]))
        labels.append(STYLES["dropped"].legend)
    legend_beside(axes, handles, labels)


def _draw_line(axes: Axes, line: RankLine, *, wide: bool) -> None:
    style = STYLES[line.kind]
    axes.plot(
        range(len(line.ranks)),
        line.ranks,
        marker="o",
        color=style.color,
        lw=1.0 if line.kind == "dropped" else 2.2,
        ms=3 if wide else 6,
        mec="white",
        zorder=1 if line.kind == "dropped" else 2,
        clip_on=False,
    )


def _name_line(axes: Axes, line: RankLine, *, last: int) -> None:
    """The name stands where the line ends, on its right: nobody else is at that place there."""
    end = len(line.ranks) - 1
    axes.annotate(
        line.label,
        (end, line.ranks[-1]),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
        color="black" if line.kind != "dropped" else DARK,
        fontweight="bold" if line.kind == "winner" else "normal",
        annotation_clip=False,
        zorder=3,
        bbox={"boxstyle": "square,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8}
        if end < last
        else None,
    )
