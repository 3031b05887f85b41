"""Accuracy over measured speed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import Affine2D

from orchestrator.reporting.figure_rows import SpeedPoint
from orchestrator.reporting.figures.canvas import (
    BLUE,
    DPI,
    ORANGE,
    PERCENT,
    Style,
    figure_of,
    handle,
    legend_beside,
    save,
)

_RUNG = Style(BLUE, "o", "frontier of the rungs")
_RIVAL = Style(ORANGE, "D", "frontier of the other run's networks")
_MARK = 13.0
"""Width of a mark with a tag in it, in points."""
_LETTER, _LINE, _PLOT = 0.08, 0.235, 7.2
"""Width of a letter and height of a line of the legend, and width of the plot, in inches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Where a mark and its interval stand, in pixels."""

    x: float
    y: float
    low: float
    high: float


def draw_speed(points: Sequence[SpeedPoint], path: Path) -> None:
    """Accuracy with 95 % intervals against measured images per second.

    Rungs and networks of another run, each with a line along those that no other one of them beats
    in both. A dot is where it was measured; a mark that would hide another stands aside of its dot
    and is joined to it.
    """
    tags = _tags(points)
    labels = [f"{tag}  {point.label}" for tag, point in zip(tags, points, strict=True)]
    lines = _frontier_handles(points)
    width = _PLOT + _LETTER * max(map(len, [*labels, *(str(line.get_label()) for line in lines)]))
    figure, axes = figure_of(width, max(5.4, 0.7 + _LINE * (len(labels) + len(lines))))
    _set_axes(axes, points)
    handles: list[Artist] = [handle(_style(point)) for point in points]
    legend_beside(axes, [*handles, *lines], [*labels, *(str(line.get_label()) for line in lines)])
    for style, group in _groups(points):
        _draw_frontier(axes, frontier(group), style)
    _draw_points(figure, axes, points, tags)
    save(figure, path, around=True)


def frontier(points: Sequence[SpeedPoint]) -> list[SpeedPoint]:
    """Those that no other one beats in both speed and accuracy, the slowest first."""
    kept = list[SpeedPoint]()
    for point in sorted(points, key=lambda point: (-point.images_per_second, -point.mean)):
        if not kept or point.mean > kept[-1].mean:
            kept.append(point)
    return kept[::-1]


def asides(boxes: Sequence[Box], *, size: float, within: tuple[float, float]) -> list[float]:
    """How far to move each mark to the right, or with a minus to the left, for all to be seen.

    A mark of this size then hides no other mark and no other's dot, intervals stand apart, and as
    far as that can be had the way from a mark to its dot leads past no other. Those that come first
    stay nearest; where there is no room `within` those limits a mark stays at its dot.
    """
    placed = list[_Placed]()
    for index, dot in enumerate(boxes):
        others = [box for place, box in enumerate(boxes) if place != index]
        free = [
            mark
            for shift in _shifts(size, most=within[1] - within[0])
            if within[0] <= dot.x + shift <= within[1]
            and not _is_in_the_way(mark := _Placed(dot, shift), others, placed, size)
        ]
        clear = (mark for mark in free if not _leads_past(mark, others, placed, size))
        placed.append(next(clear, free[0] if free else _Placed(dot, 0.0)))
    return [mark.shift for mark in placed]


@dataclass(frozen=True, slots=True)
class _Placed:
    """A mark aside of its dot."""

    dot: Box
    shift: float

    @property
    def x(self) -> float:
        return self.dot.x + self.shift

    def passes(self, x: float, y: float, *, near: float) -> bool:
        """Whether the way from the dot to the mark leads over that place."""
        left, right = sorted((self.dot.x, self.x))
        return bool(self.shift) and left < x < right and abs(y - self.dot.y) < near


def _shifts(size: float, *, most: float) -> Iterator[float]:
    """0, then ever further to both sides; first so far that a mark leaves its dot free."""
    yield 0.0
    far = 0.8 * size
    while far <= most:
        yield from (far, -far)
        far += size / 4


def _is_in_the_way(
    mark: _Placed, others: Sequence[Box], placed: Sequence[_Placed], size: float
) -> bool:
    hides = (
        abs(mark.x - dot.x) < 0.7 * size and abs(mark.dot.y - dot.y) < 0.7 * size for dot in others
    )
    return any(hides) or any(_collide(mark, other, size) for other in placed)


def _collide(one: _Placed, other: _Placed, size: float) -> bool:
    apart, half = abs(one.x - other.x), size / 2
    if abs(one.dot.y - other.dot.y) < size:
        return apart < 1.05 * size
    low, high = (min(one.dot.low, one.dot.y - half), max(one.dot.high, one.dot.y + half))
    overlap = low < other.dot.high and other.dot.low < high
    into = one.dot.low < other.dot.y + half and other.dot.y - half < one.dot.high
    return (overlap or into) and apart < 0.3 * size


def _leads_past(
    mark: _Placed, others: Sequence[Box], placed: Sequence[_Placed], size: float
) -> bool:
    """Whether one could take its dot for another's."""
    return (
        any(mark.passes(dot.x, dot.y, near=size / 4) for dot in others)
        or any(mark.passes(other.x, other.dot.y, near=size / 2) for other in placed)
        or any(other.passes(mark.x, mark.dot.y, near=size / 2) for other in placed)
    )


def _set_axes(axes: Axes, points: Sequence[SpeedPoint]) -> None:
    axes.set_xscale("log")
    found = [point.images_per_second for point in points]
    axes.set_xlim(min(found) / 1.3, max(found) * 1.3)
    lows, highs = zip(*(point.interval for point in points), strict=True)
    room = 0.05 * max(max(highs) - min(lows), 0.01)
    axes.set_ylim(min(lows) - room, max(highs) + room)
    wide = max(found) / min(found) > 4
    more = () if wide else (1.2, 2.5, 4.0, 6.0, 8.0)
    axes.xaxis.set_major_locator(LogLocator(subs=sorted((1.0, 1.5, 2.0, 3.0, 5.0, 7.0, *more))))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _speed_text(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("images per second, measured")
    axes.set_ylabel("top-1, reporting split, 95 % interval")


def _groups(points: Sequence[SpeedPoint]) -> list[tuple[Style, list[SpeedPoint]]]:
    """Those that there are, unless a single network is all there is."""
    groups = [
        (style, [point for point in points if _style(point) is style]) for style in (_RUNG, _RIVAL)
    ]
    return [(style, group) for style, group in groups if group and len(points) > 1]


def _frontier_handles(points: Sequence[SpeedPoint]) -> list[Line2D]:
    return [
        Line2D([], [], color=style.color, lw=1.1, ls=_dashes(style), label=style.legend)
        for style, _ in _groups(points)
    ]


def _dashes(style: Style) -> str:
    return "--" if style is _RIVAL else "-"


def _draw_frontier(axes: Axes, best: Sequence[SpeedPoint], style: Style) -> None:
    """Steps: at each speed the accuracy of the best that is at least as fast."""
    speeds, means = [p.images_per_second for p in best], [p.mean for p in best]
    axes.plot(
        [axes.get_xlim()[0], *speeds, speeds[-1]],
        [means[0], *means, axes.get_ylim()[0]],
        drawstyle="steps-pre",
        color=style.color,
        lw=1.1,
        ls=_dashes(style),
        zorder=1.5,
    )


def _draw_points(
    figure: Figure, axes: Axes, points: Sequence[SpeedPoint], tags: Sequence[str]
) -> None:
    """Limits, labels and legend must stand: where marks are in the way depends on the layout."""
    figure.draw_without_rendering()
    ends = [(p.images_per_second, y) for p in points for y in (p.mean, *p.interval)]
    pixels = [(float(x), float(y)) for x, y in axes.transData.transform(ends)]
    boxes = [
        Box(x=x, y=y, low=low, high=high)
        for (x, y), (_, low), (_, high) in zip(pixels[::3], pixels[1::3], pixels[2::3], strict=True)
    ]
    size = _MARK * DPI / 72
    room = (axes.bbox.x0 + size / 2, axes.bbox.x1 - size / 2)
    best = [point for _, group in _groups(points) for point in frontier(group)]
    order = sorted(range(len(points)), key=lambda place: points[place] not in best)
    shifts = asides([boxes[place] for place in order], size=size, within=room)
    for place, shift in zip(order, shifts, strict=True):
        _draw_point(axes, points[place], tags[place], shift)
    if any(shifts):
        axes.set_xlabel("images per second, measured; the dot counts where a mark stands aside")


def _draw_point(axes: Axes, point: SpeedPoint, tag: str, shift: float) -> None:
    style, x, y = _style(point), point.images_per_second, point.mean
    moved = axes.transData + Affine2D().translate(shift, 0)
    if shift:
        axes.annotate(
            "",
            (x, y),
            xytext=(shift * 72 / DPI, 0),
            textcoords="offset points",
            arrowprops={
                "arrowstyle": "-",
                "color": style.color,
                "lw": 0.8,
                "shrinkA": 0,
                "shrinkB": 0,
            },
            zorder=2.5,
        )
        axes.plot(x, y, ".", color=style.color, ms=5, zorder=5)
    axes.plot(
        [x, x],
        point.interval,
        color=style.color,
        lw=2.4,
        alpha=0.4,
        solid_capstyle="butt",
        transform=moved,
    )
    axes.plot(
        x,
        y,
        style.marker,
        color=style.color,
        ms=_MARK,
        mec="white",
        mew=1,
        zorder=3,
        transform=moved,
    )
    axes.annotate(
        tag,
        (x, y),
        xycoords=moved,
        ha="center",
        va="center_baseline",
        color="white",
        fontsize=8,
        fontweight="bold",
        zorder=4,
    )


def _style(point: SpeedPoint) -> Style:
    return _RIVAL if point.rival else _RUNG


def _tags(points: Sequence[SpeedPoint]) -> list[str]:
    """Numbers for the rungs, letters for the others."""
    rungs = sum(not point.rival for point in points)
    return [
        chr(ord("a") + (number - rungs) % 26) if point.rival else str(number + 1)
        for number, point in enumerate(points)
    ]


def _speed_text(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"
