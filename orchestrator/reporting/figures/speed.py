"""Accuracy over measured speed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from orchestrator.reporting.figure_rows import SpeedPoint
from orchestrator.reporting.figures.canvas import (
    BLUE,
    ORANGE,
    PERCENT,
    Mark,
    Style,
    draw_marks,
    figure_of,
    handle,
    legend_beside,
    save,
)

_RUNG = Style(BLUE, "o", "rung")
_RIVAL = Style(ORANGE, "D", "network of another run")


def draw_speed(points: Sequence[SpeedPoint], path: Path) -> None:
    """Accuracy against measured images per second: rungs, and networks of another run."""
    figure, axes = figure_of(9.2, 4.8)
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
    axes.yaxis.set_major_formatter(PERCENT)
    axes.set_xlabel("images per second, measured")
    axes.set_ylabel("top-1, reporting split")
    tags = _tags(points)
    labels = [f"{tag}  {point.label}" for tag, point in zip(tags, points, strict=True)]
    legend_beside(axes, [handle(_style(point)) for point in points], labels)
    marks = [
        Mark(
            tag=tag,
            x=point.images_per_second,
            mean=point.mean,
            interval=point.interval,
            style=_style(point),
        )
        for tag, point in zip(tags, points, strict=True)
    ]
    draw_marks(figure, axes, marks)
    save(figure, path)


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
