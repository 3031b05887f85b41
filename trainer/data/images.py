"""One picture in, one upright 8-bit RGB array out."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from trainer.errors import DatasetError

UNREADABLE = (
    OSError,  # includes PIL.UnidentifiedImageError and truncated files
    SyntaxError,  # Pillow's word for a broken header
    ValueError,
    EOFError,
    IndexError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow raises for files that are damaged, or are no pictures at all."""


def read_image(path: Path) -> NDArray[np.uint8]:
    """The picture in a file, upright, as RGB (H, W, 3); the first frame of an animation.

    Raises:
        DatasetError: the file is no picture, is damaged, or holds pixels without an 8-bit meaning.
    """
    try:
        with Image.open(path) as image:
            return to_rgb(image)
    except UNREADABLE as error:
        why = "" if isinstance(error, UnidentifiedImageError) else f" ({_one_line(error)})"
        raise DatasetError(
            f"'{shown(path)}' is not a readable image{why}; --skip-unreadable leaves it out"
        ) from error


def to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Any picture as upright 8-bit RGB (H, W, 3).

    Applies the EXIF orientation; composites transparency on white, the page that a cut-out was
    drawn for (dropping alpha would show whatever colour hides below it); keeps the upper 8 of 16
    bits, where Pillow's own conversion would clip all but the darkest 256 levels to white.
    """
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # I;16, I;16B …, and I, as which some 16-bit files open
        return _from_16_bits(np.asarray(upright))
    if upright.mode == "F":
        raise ValueError("floating-point pixels have no 8-bit meaning")
    if upright.has_transparency_data:
        page = Image.new("RGBA", upright.size, "white")
        upright = Image.alpha_composite(page, upright.convert("RGBA"))
    return np.array(upright.convert("RGB"))


def shown(path: Path | str) -> str:
    """A path as part of a one-line message: control characters and odd bytes are escaped."""
    return repr(str(path))[1:-1]


def _from_16_bits(levels: NDArray[np.generic]) -> NDArray[np.uint8]:
    wide = levels.astype(np.int64)
    if wide.min() < 0 or wide.max() > 0xFFFF:
        raise ValueError("integer pixels beyond 16 bits have no 8-bit meaning")
    grey = (wide >> 8).astype(np.uint8)
    return np.repeat(grey[:, :, np.newaxis], 3, axis=2)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
