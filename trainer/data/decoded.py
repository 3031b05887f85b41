"""A data set as training sees it: 8-bit images of whatever size, labels, and what they hash to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


class Images(Protocol):
    """Images by number, each uint8 (H, W, 3), RGB, not to be written to."""

    def __getitem__(self, index: int) -> NDArray[np.uint8]: ...

    def stack(self, indices: Indices) -> NDArray[np.uint8]:
        """A copy of images that have the same size, (B, H, W, 3)."""

    def expect(self, indices: Indices) -> None:
        """A hint that these will be asked for soon."""


class MappedImages:
    """Images in one memory-mapped file, whose pages all processes of a machine share."""

    def __init__(self, pixels: NDArray[np.uint8], sizes: NDArray[np.int32]) -> None:
        """Args: all pixels in one row, image after image; heights and widths (N, 2)."""
        self._pixels = pixels
        self._sizes = sizes
        lengths = sizes.astype(np.int64).prod(axis=1) * 3
        self._starts = np.concatenate(([0], np.cumsum(lengths)))

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        height, width = self._sizes[index]
        image = self._pixels[self._starts[index] : self._starts[index + 1]]
        return image.reshape(height, width, 3)

    def stack(self, indices: Indices) -> NDArray[np.uint8]:
        """A copy of images that have the same size, (B, H, W, 3); one gather if all have it."""
        if self._grid is None:
            return np.stack([self[index] for index in indices])
        return self._grid[indices]

    def expect(self, indices: Indices) -> None:
        """Nothing to do: the system reads ahead."""

    @cached_property
    def _grid(self) -> NDArray[np.uint8] | None:
        height, width = self._sizes[0]
        if not (self._sizes == self._sizes[0]).all():
            return None
        return self._pixels.reshape(-1, height, width, 3)


class StreamedImages:
    """Images decoded again at each access, for sets too large to be kept decoded."""

    def __init__(self, decode: Callable[[int], NDArray[np.uint8]], *, workers: int) -> None:
        self._decode = decode
        self._workers = workers
        self._pending: dict[int, Future[NDArray[np.uint8]]] = {}

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        pending = self._pending.pop(int(index), None)
        return self._decode(int(index)) if pending is None else pending.result()

    def stack(self, indices: Indices) -> NDArray[np.uint8]:
        """A copy of images that have the same size, (B, H, W, 3)."""
        self.expect(indices)
        return np.stack([self[index] for index in indices])

    def expect(self, indices: Indices) -> None:
        """Begin to decode these; what was expected earlier and never asked for is forgotten."""
        wanted = [int(index) for index in indices]
        for forgotten in self._pending.keys() - set(wanted):
            self._pending.pop(forgotten).cancel()
        for index in wanted:
            if index not in self._pending:
                self._pending[index] = self._pool.submit(self._decode, index)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:  # made late, so that an unused set starts no threads
        return ThreadPoolExecutor(self._workers, thread_name_prefix="decode")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DecodedSet:
    """A decoded data set; images are numbered through its splits."""

    fingerprint: str
    """Hash of all pixels, labels, class names and splits; says nothing of files and formats."""
    class_names: tuple[str, ...]
    splits: Mapping[str, range]
    """The numbers of the images of `train`, and of `val` and `test` if the set has them."""
    labels: NDArray[np.int64]
    """(N,), indices into `class_names`."""
    sizes: NDArray[np.int32]
    """Heights and widths, (N, 2)."""
    fixed_size: tuple[int, int] | None
    """Height and width, if all images have the same."""
    digests: NDArray[np.uint8]
    """A hash of each image's size and pixels, (N, 16)."""
    moments: NDArray[np.uint64]
    """Sums of the levels and of their squares over each image, per channel, (N, 2, 3)."""
    images: Images
    streamed: bool
    """Whether images are decoded at each access, the set being too large for the cache."""
    skipped: tuple[str, ...] = ()
    """What was left out because it could not be read."""

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    @property
    def typical_short_side(self) -> int:
        """Median over the images of the shorter side, in pixels."""
        return int(np.median(self.sizes.min(axis=1)))


def fingerprint(
    *,
    class_names: Iterable[str],
    splits: Mapping[str, int],
    labels: NDArray[np.int64],
    digests: NDArray[np.uint8],
) -> str:
    """32 hex digits over the content of a data set: class names, splits, labels and pixels."""
    words = [*class_names, "", *(f"{split}:{count}" for split, count in splits.items())]
    return content_hash(words, labels, digests)


def content_hash(words: Iterable[str], *tables: NDArray[np.generic]) -> str:
    """32 hex digits over words, and tables whose byte order is the machine's (little-endian)."""
    digest = blake2b(digest_size=16)
    for word in words:
        digest.update(word.encode(errors="surrogateescape") + b"\0")
    for table in tables:
        digest.update(f"{table.dtype.str}{table.shape}\0".encode())
        digest.update(np.ascontiguousarray(table).data)
    return digest.hexdigest()
