"""A picture of what a policy does to images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from orchestrator.reporting.figures.canvas import DPI, save

CELL_INCHES = 0.7
"""Side of an image."""


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
    save(figure, path, around=True)


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
