"""Accuracy over the test resolution."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from orchestrator.reporting.figure_rows import ResolutionChart
from orchestrator.reporting.figures.canvas import (
    BLUE,
    DARK,
    GREEN,
    ORANGE,
    PALE,
    PERCENT,
    Style,
    figure_of,
    save,
)

ADAPTATIONS: Mapping[str, Style] = {
    "none": Style(DARK, "o", "unadapted"),
    "parametric": Style(GREEN, "^", "matched after the pool"),
    "statistics": Style(ORANGE, "D", "new batch statistics"),
    "finetune": Style(BLUE, "s", "fine-tuned"),
}


def draw_resolutions(chart: ResolutionChart, path: Path) -> None:
    """Accuracy against the test resolution with 95 % intervals, a line for each adaptation."""
    figure, axes = figure_of(7.6, 4.6)
    axes.axvline(chart.train_resolution, color=PALE, lw=1.2, ls="--", label="train resolution")
    sides = sorted({point.resolution for _, points in chart.lines for point in points})
    apart = min((b - a for a, b in pairwise(sides)), default=1)
    for place, (adaptation, points) in enumerate(chart.lines):
        style = ADAPTATIONS[adaptation]
        shift = 0.06 * apart * (place - (len(chart.lines) - 1) / 2)  # bars stand side by side
        at = [point.resolution + shift for point in points]
        lows, highs = zip(*(point.interval for point in points), strict=True)
        axes.vlines(at, lows, highs, color=style.color, lw=1.4, alpha=0.7)
        means = [point.mean for point in points]
        axes.plot(at, means, f"{style.marker}-", color=style.color, ms=6, label=style.legend)
    axes.set_xticks(sides, [str(side) for side in sides])
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("test resolution (px)")
    axes.set_ylabel("top-1, selection split")
    # Above the plot: within it the bars of some resolution are always in the way.
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    save(figure, path)
