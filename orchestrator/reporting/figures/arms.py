"""Accuracies under each other, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from orchestrator.reporting.figures.canvas import BLUE, DARK, PERCENT, figure_of, save


def draw_arms(arms: Sequence[Mapping[str, Any]], found: str, path: Path) -> None:
    """The accuracy of each arm with its 95 % interval and its runs; what was found stands out."""
    figure, axes = figure_of(7.6, 1.2 + 0.5 * len(arms))
    for place, arm in enumerate(arms):
        draw_arm(axes, place, arm, color=BLUE if arm["name"] == found else DARK)
    axes.set_yticks(range(len(arms)), [arm["name"] for arm in arms])
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("top-1, reporting split: mean, 95 % interval, and every run")
    save(figure, path)


def draw_arm(
    axes: Axes, place: int, arm: Mapping[str, Any], *, color: str, size: float = 8
) -> None:
    """Mean, interval and a tick for each run, in the row of this place; the mark is `size` wide."""
    axes.plot(arm["interval"], [place, place], color=color, lw=size / 4, solid_capstyle="butt")
    axes.plot(arm["values"], [place] * len(arm["values"]), "|", color=color, ms=size + 1, mew=1)
    axes.plot([arm["mean"]], [place], "o", color=color, ms=size)
