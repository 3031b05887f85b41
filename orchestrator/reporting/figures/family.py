"""Figures of a family of scaled networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

from orchestrator.reporting.figure_rows import Member, ModeLine
from orchestrator.reporting.figures.canvas import (
    BLUE,
    DARK,
    DPI,
    GREEN,
    ORANGE,
    PERCENT,
    Style,
    figure_of,
    plain,
    save,
)
from orchestrator.reporting.formats import magnitude

MODES: Mapping[str, Style] = {
    "published": Style(BLUE, "o", "published sizes"),
    "compound": Style(BLUE, "o", "compound"),
    "depth": Style(ORANGE, "D", "depth alone"),
    "width": Style(GREEN, "s", "width alone"),
    "resolution": Style(DARK, "^", "resolution alone"),
}


def draw_family(members: Sequence[Member], path: Path) -> None:
    """Cost beside the F^φ that was promised, parameters and resolution, over φ."""
    figure = Figure(figsize=(9.2, 3.2), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    cost, params, resolution = figure.subplots(1, 3)
    phi = [member.phi for member in members]
    cost.plot(
        phi, [m.target_ratio for m in members], "--", color=ORANGE, lw=1.4, label="promised: F^φ"
    )
    cost.plot(phi, [m.macs_ratio for m in members], "o-", color=BLUE, ms=5, label="as built")
    cost.set_title("multiply-adds, times the baseline", fontsize=10)
    cost.legend(frameon=False, fontsize=9)
    params.plot(phi, [m.params for m in members], "o-", color=BLUE, ms=5)
    params.set_title("parameters", fontsize=10)
    resolution.plot(phi, [m.resolution for m in members], "o-", color=BLUE, ms=5)
    resolution.set_title("resolution, pixels", fontsize=10)
    resolution.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    resolution.set_ylim(0, 1.1 * max(m.resolution for m in members))
    _log_axis(cost, [m.macs_ratio for m in members], lambda value: f"{value:.3g}x")
    _log_axis(params, [m.params for m in members], lambda value: magnitude(round(value)))
    for axes in (cost, params, resolution):
        axes.set_xlabel("φ")
        axes.set_xticks(phi, [f"{value:g}" for value in phi])
        plain(axes)
    save(figure, path)


def draw_modes(lines: Sequence[ModeLine], path: Path) -> None:
    """Accuracy against multiply-adds with 95 % intervals, a line for each way of scaling."""
    figure, axes = figure_of(7.6, 4.6)
    axes.set_xscale("log")
    for line in lines:
        style, macs = MODES[line.mode], [point.macs for point in line.points]
        means = [point.mean for point in line.points]
        axes.vlines(
            macs,
            [point.interval[0] for point in line.points],
            [point.interval[1] for point in line.points],
            color=style.color,
            lw=1.4,
            alpha=0.7,
        )
        axes.plot(macs, means, f"{style.marker}-", color=style.color, ms=7, label=style.legend)
    for point in lines[0].points:
        axes.annotate(
            point.label, (point.macs, point.mean), xytext=(4, 6), textcoords="offset points"
        )
    costs = [point.macs for point in lines[0].points]
    ticks = [cost for place, cost in enumerate(costs) if not place or cost > 1.2 * costs[place - 1]]
    axes.set_xticks(ticks, [magnitude(cost) for cost in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("multiply-adds")
    axes.set_ylabel("top-1, reporting split")
    axes.legend(frameon=False, fontsize=9)
    save(figure, path)


def _log_axis(axes: Axes, values: Sequence[float], text: Callable[[float], str]) -> None:
    """A logarithmic axis with a tick at each value, unless it would touch the tick below."""
    axes.set_yscale("log")
    ticks: list[float] = []
    for value in sorted(values):
        if not ticks or value > 1.2 * ticks[-1]:
            ticks.append(value)
    axes.set_yticks(ticks, [text(value) for value in ticks])
    axes.minorticks_off()
