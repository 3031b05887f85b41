"""Rows to figures: the only place that draws. The door to matplotlib.

Colours are those of Okabe and Ito, which the colour-blind tell apart; shape says the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

from orchestrator.reporting.figure_rows import (
    Budget,
    Dot,
    Kind,
    Member,
    ModeLine,
    RankChart,
    RankLine,
    ResolutionChart,
    SpeedPoint,
    dodges,
)
from orchestrator.reporting.formats import magnitude
from orchestrator.run_dir import write_whole

BLUE, SKY, ORANGE, GREEN, DARK, PALE = (
    "#0072B2",
    "#56B4E9",
    "#D55E00",
    "#009E73",
    "#595959",
    "#BDBDBD",
)
DPI = 150
MARK_POINTS = 14
"""Width of a mark with a tag in it."""
CELL_INCHES = 0.7
"""Side of an image in a picture of a policy."""
MOST_LABELS = 45
"""Lines of a rank chart that are all named; of more, only the finalists are."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a kind of network looks."""

    color: str
    marker: str
    legend: str


STYLES: Mapping[Kind, Style] = {
    "winner": Style(BLUE, "o", "winner"),
    "tie": Style(SKY, "s", "tie: may be as good"),
    "finalist": Style(DARK, "h", "finalist, told apart"),
    "control": Style(ORANGE, "D", "control"),
    "dropped": Style(PALE, ".", "no finalist: one run,\nas far as it went"),
}

MODES: Mapping[str, Style] = {
    "published": Style(BLUE, "o", "published sizes"),
    "compound": Style(BLUE, "o", "compound"),
    "depth": Style(ORANGE, "D", "depth alone"),
    "width": Style(GREEN, "s", "width alone"),
    "resolution": Style(DARK, "^", "resolution alone"),
}

ADAPTATIONS: Mapping[str, Style] = {
    "none": Style(DARK, "o", "unadapted"),
    "parametric": Style(GREEN, "^", "matched after the pool"),
    "statistics": Style(ORANGE, "D", "new batch statistics"),
    "finetune": Style(BLUE, "s", "fine-tuned"),
}


def draw_accuracy(
    dots: Sequence[Dot], path: Path, *, baseline_macs: int, budget: Budget | None
) -> None:
    """Accuracy against multiply-adds, 95 % intervals; who is who stands at the side."""
    figure, axes = _figure(9.2, 4.8)
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
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    millions = baseline_macs / 1e6
    beside = axes.secondary_xaxis(
        "top",
        functions=(lambda macs: np.divide(macs, millions), lambda x: np.multiply(x, millions)),
    )
    beside.set_xlabel("times the baseline" + (" (shaded: the budget)" if budget else ""))
    _name_dots(axes, dots)
    figure.draw_without_rendering()  # settles the layout, on which the shifts depend
    for dot, shift in zip(compared, _shifts(axes, compared), strict=True):
        _draw_dot(axes, dot, shift)
    _save(figure, path)


def draw_ranks(chart: RankChart, path: Path) -> None:
    """The place of every candidate from rung to rung; a line ends where one was dropped."""
    count = len(chart.lines)
    figure, axes = _figure(max(6.5, 2.6 + 1.4 * len(chart.steps)), min(max(2.6, 0.24 * count), 14))
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
    _save(figure, path)


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
        _plain(axes)
    _save(figure, path)


def draw_policy(
    rows: Sequence[tuple[str, Sequence[NDArray[np.uint8]]]],
    path: Path,
    *,
    heads: Sequence[str] = (),
) -> None:
    """Rows of images, uint8 (H, W, 3), equally many and of one size, each row named at its left."""
    labels, images = [label for label, _ in rows], [row for _, row in rows]
    mosaic = _mosaic(images)
    num_rows, num_columns = len(images), len(images[0])
    # The images fill the figure, and the words are added around it when it is saved: constrained
    # layout leaves them too little room beside an image that keeps its shape.
    figure = Figure(figsize=(CELL_INCHES * num_columns, CELL_INCHES * num_rows), dpi=DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(mosaic)
    axes.set_yticks(_middles(mosaic.shape[0], num_rows), labels, fontsize=7)
    axes.set_xticks(_middles(mosaic.shape[1], num_columns)[: len(heads)], heads, fontsize=7)
    axes.xaxis.tick_top()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    _save(figure, path, around=True)


def draw_arms(arms: Sequence[Mapping[str, Any]], found: str, path: Path) -> None:
    """The accuracy of each arm with its 95 % interval and its runs; what was found stands out."""
    figure, axes = _figure(7.6, 1.2 + 0.5 * len(arms))
    for place, arm in enumerate(arms):
        color = BLUE if arm["name"] == found else DARK
        low, high = arm["interval"]
        axes.plot([low, high], [place, place], color=color, lw=2, solid_capstyle="butt")
        axes.plot(arm["values"], [place] * len(arm["values"]), "|", color=color, ms=9, mew=1)
        axes.plot([arm["mean"]], [place], "o", color=color, ms=8)
    axes.set_yticks(range(len(arms)), [arm["name"] for arm in arms])
    axes.set_ylim(len(arms) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.set_xlabel("top-1, reporting split: mean, 95 % interval, and every run")
    _save(figure, path)


def draw_modes(lines: Sequence[ModeLine], path: Path) -> None:
    """Accuracy against multiply-adds with 95 % intervals, a line for each way of scaling."""
    figure, axes = _figure(7.6, 4.6)
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
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.set_xlabel("multiply-adds")
    axes.set_ylabel("top-1, reporting split")
    axes.legend(frameon=False, fontsize=9)
    _save(figure, path)


def draw_resolutions(chart: ResolutionChart, path: Path) -> None:
    """Accuracy against the test resolution with 95 % intervals, a line for each adaptation."""
    figure, axes = _figure(7.6, 4.6)
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
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.set_xlabel("test resolution (px)")
    axes.set_ylabel("top-1, selection split")
    # Above the plot: within it the bars of some resolution are always in the way.
    axes.legend(frameon=False, fontsize=9, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    _save(figure, path)


def draw_speed(points: Sequence[SpeedPoint], path: Path) -> None:
    """Accuracy against measured images per second: rungs, and networks of another run."""
    figure, axes = _figure(9.2, 4.8)
    axes.set_xscale("log")
    found = [point.images_per_second for point in points]
    axes.set_xlim(min(found) / 1.3, max(found) * 1.3)
    lows, highs = zip(*(point.interval for point in points), strict=True)
    room = 0.05 * max(max(highs) - min(lows), 0.01)
    axes.set_ylim(min(lows) - room, max(highs) + room)
    ticks = LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
    axes.xaxis.set_major_locator(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _speed_text(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.set_xlabel("images per second, measured")
    axes.set_ylabel("top-1, reporting split")
    handles = [_speed_mark(point) for point in points]
    labels = [f"{tag}  {point.label}" for tag, point in zip(_tags(points), points, strict=True)]
    axes.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        fontsize=9,
        borderaxespad=0,
    )
    figure.draw_without_rendering()  # settles the layout, on which the shifts depend
    places = axes.transData.transform([(p.images_per_second, p.mean) for p in points])
    shifts = dodges([(float(x), float(y)) for x, y in places], apart=MARK_POINTS * DPI / 72)
    for tag, point, shift in zip(_tags(points), points, shifts, strict=True):
        _draw_speed(axes, tag, point, shift)
    _save(figure, path)


def _tags(points: Sequence[SpeedPoint]) -> list[str]:
    """Numbers for the rungs, letters for the others."""
    rungs = sum(not point.rival for point in points)
    return [
        chr(ord("a") + (number - rungs) % 26) if point.rival else str(number + 1)
        for number, point in enumerate(points)
    ]


def _speed_mark(point: SpeedPoint) -> Line2D:
    marker, color = ("D", ORANGE) if point.rival else ("o", BLUE)
    return Line2D([], [], marker=marker, color=color, ls="", ms=8)


def _draw_speed(axes: Axes, tag: str, point: SpeedPoint, shift: float) -> None:
    x, color = point.images_per_second, ORANGE if point.rival else BLUE
    moved = axes.transData + Affine2D().translate(shift, 0)
    axes.plot([x, x], point.interval, color=color, lw=1.4, alpha=0.6, transform=moved)
    marker = "D" if point.rival else "o"
    axes.plot(
        x,
        point.mean,
        marker,
        color=color,
        ms=MARK_POINTS - 1,
        mec="white",
        mew=1,
        zorder=3,
        transform=moved,
    )
    axes.annotate(
        tag,
        (x, point.mean),
        xycoords=moved,
        ha="center",
        va="center_baseline",
        color="white",
        fontsize=8,
        fontweight="bold",
        zorder=4,
    )


def _speed_text(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def _mosaic(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """All images in one, each in a white frame: an image a cell would take matplotlib minutes."""
    cells = np.array(rows)  # (rows, columns, H, W, 3)
    frame = max(1, cells.shape[2] // 24)
    around = ((0, 0), (0, 0), (frame, frame), (frame, frame), (0, 0))
    framed = np.pad(cells, around, constant_values=255)
    num_rows, num_columns, height, width, channels = framed.shape
    beside = framed.transpose(0, 2, 1, 3, 4)
    return beside.reshape(num_rows * height, num_columns * width, channels)


def _middles(length: int, parts: int) -> list[float]:
    """The middle of each of so many equal parts, in pixels, whose own middles are whole numbers."""
    return [(place + 0.5) * length / parts - 0.5 for place in range(parts)]


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    # No pyplot: it keeps figures in a global list and looks for a screen.
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E5E5E5", lw=0.6)
    axes.set_axisbelow(True)


def _range(dots: Sequence[Dot]) -> tuple[float, float]:
    low = min(dot.interval[0] for dot in dots)
    high = max(dot.interval[1] for dot in dots)
    room = 0.08 * max(high - low, 0.01)
    return low - room, high + room


def _make_room(axes: Axes, values: Sequence[float]) -> None:
    room = 0.1 * (max(values) - min(values)) or 0.1 * max(values)
    axes.set_xlim(min(values) - room, max(values) + room)


def _shifts(axes: Axes, dots: Sequence[Dot]) -> list[float]:
    """How far to the right each mark is moved so that none hides another, in pixels."""
    places = axes.transData.transform([(dot.macs / 1e6, dot.mean) for dot in dots])
    return dodges([(float(x), float(y)) for x, y in places], apart=MARK_POINTS * DPI / 72)


def _draw_dot(axes: Axes, dot: Dot, shift: float) -> None:
    style, x = STYLES[dot.kind], dot.macs / 1e6
    moved = axes.transData + Affine2D().translate(shift, 0)
    axes.plot(
        [x, x],
        dot.interval,
        color=style.color,
        lw=1.6,
        solid_capstyle="butt",
        zorder=2,
        transform=moved,
    )
    axes.plot(
        x,
        dot.mean,
        style.marker,
        color=style.color,
        ms=MARK_POINTS - 1,
        mec="white",
        mew=1,
        zorder=3,
        transform=moved,
    )
    axes.annotate(
        dot.tag,
        (x, dot.mean),
        xycoords=moved,
        ha="center",
        va="center_baseline",
        color="white" if dot.kind != "tie" else "black",
        fontsize=8,
        fontweight="bold",
        zorder=4,
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
        style = STYLES[dot.kind]
        if dot.kind != "dropped":
            handles.append(Line2D([], [], marker=style.marker, color=style.color, ls="", ms=8))
            tie = " (tie)" if dot.kind == "tie" else ""
            labels.append(f"{dot.tag}  {dot.label}{tie}")
    if any(dot.kind == "dropped" for dot in dots):
        handles.append(Line2D([], [], marker=".", color=PALE, ls="", ms=8))
        labels.append(STYLES["dropped"].legend)
    axes.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        fontsize=9,
        borderaxespad=0,
        labelspacing=0.6,
    )


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


def _log_axis(axes: Axes, values: Sequence[float], text: Callable[[float], str]) -> None:
    """A logarithmic axis with a tick at each value, unless it would touch the tick below."""
    axes.set_yscale("log")
    ticks: list[float] = []
    for value in sorted(values):
        if not ticks or value > 1.2 * ticks[-1]:
            ticks.append(value)
    axes.set_yticks(ticks, [text(value) for value in ticks])
    axes.minorticks_off()


def _save(figure: Figure, path: Path, *, around: bool = False) -> None:
    """Write the figure, with `around` as large as everything that was drawn takes."""
    content = BytesIO()
    box = "tight" if around else None
    # Without the version that drew it, the same rows give the same bytes.
    figure.savefig(content, format="png", metadata={"Software": None}, bbox_inches=box)
    write_whole(path, content.getvalue())
