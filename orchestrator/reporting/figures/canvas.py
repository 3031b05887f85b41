"""What all figures have in common: colours, a frame, numbered marks, a file.

Colours are those of Okabe and Ito, which the colour-blind tell apart; shape says the same again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import Affine2D

from orchestrator.reporting.figure_rows import dodges
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
_MARK_POINTS = 14
"""Width of a mark with a tag in it."""
PERCENT = FuncFormatter(lambda value, _: f"{100 * value:g} %")


@dataclass(frozen=True, slots=True)
class Style:
    """How a kind of network looks."""

    color: str
    marker: str
    legend: str


@dataclass(frozen=True, slots=True)
class Mark:
    """An accuracy with its interval, under a tag that the legend explains."""

    tag: str
    x: float
    mean: float
    interval: tuple[float, float]
    style: Style
    tag_color: str = "white"


def figure_of(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of one plot, in inches."""
    # No pyplot: it keeps figures in a global list and looks for a screen.
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    plain(axes)
    return figure, axes


def plain(axes: Axes) -> None:
    """A grid in the background, and no frame."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E5E5E5", lw=0.6)
    axes.set_axisbelow(True)


def draw_marks(figure: Figure, axes: Axes, marks: Sequence[Mark]) -> None:
    """All marks, moved to the right as far as it takes for none to hide another.

    Limits, labels and legend must stand: the shifts depend on the layout.
    """
    figure.draw_without_rendering()
    places = axes.transData.transform([(mark.x, mark.mean) for mark in marks])
    apart = _MARK_POINTS * DPI / 72
    shifts = dodges([(float(x), float(y)) for x, y in places], apart=apart)
    for mark, shift in zip(marks, shifts, strict=True):
        _draw_mark(axes, mark, shift)


def _draw_mark(axes: Axes, mark: Mark, shift: float) -> None:
    moved, style = axes.transData + Affine2D().translate(shift, 0), mark.style
    axes.plot(
        [mark.x, mark.x],
        mark.interval,
        color=style.color,
        lw=1.6,
        solid_capstyle="butt",
        zorder=2,
        transform=moved,
    )
    axes.plot(
        mark.x,
        mark.mean,
        style.marker,
        color=style.color,
        ms=_MARK_POINTS - 1,
        mec="white",
        mew=1,
        zorder=3,
        transform=moved,
    )
    axes.annotate(
        mark.tag,
        (mark.x, mark.mean),
        xycoords=moved,
        ha="center",
        va="center_baseline",
        color=mark.tag_color,
        fontsize=8,
        fontweight="bold",
        zorder=4,
    )


def handle(style: Style) -> Line2D:
    """What stands for a kind of mark in a legend."""
    return Line2D([], [], marker=style.marker, color=style.color, ls="", ms=8)


def legend_beside(axes: Axes, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """A legend at the right of the plot, where it is never in the way."""
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


def save(figure: Figure, path: Path, *, around: bool = False) -> None:
    """Write the figure, with `around` as large as everything that was drawn takes."""
    content = BytesIO()
    box = "tight" if around else None
    # Without the version that drew it, the same rows give the same bytes.
    figure.savefig(content, format="png", metadata={"Software": None}, bbox_inches=box)
    write_whole(path, content.getvalue())
