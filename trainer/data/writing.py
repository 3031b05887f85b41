"""Decoding a data set into a folder: one pass that reads, hashes, measures and writes."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainer.data.decoded import fingerprint
from trainer.data.sources import Source
from trainer.errors import DatasetError

FORMAT = 1
"""Raised whenever a cache entry is laid out differently; older entries are then decoded again."""

PIXELS, META = "pixels.bin", "meta.json"
TABLES = ("labels", "sizes", "digests", "moments", "numbers")
"""Arrays of an entry, one `.npy` each; `numbers` are the images' numbers in the source."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What came of decoding a data set."""

    fingerprint: str
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decoded:
    number: int
    pixels: NDArray[np.uint8]  # (H, W, 3)
    label: int
    digest: bytes
    moments: NDArray[np.uint64]  # (2, 3)


def write_entry(
    folder: Path,
    source: Source,
    *,
    workers: int,
    limit_bytes: int,
    skip_unreadable: bool,
    origin: dict[str, str],
) -> Written:
    """Decode every image of a source into a new folder, complete when this returns.

    Beyond `limit_bytes` of pixels the images are still read and hashed, but not kept: the entry
    then says where they come from (`origin`), and they are decoded again at each access.

    Raises:
        DatasetError: an image cannot be read (unless these are skipped), or a class has none left.
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True)
    skipped: list[str] = []
    decoded = _decoded(source, workers=workers, skipped=skipped if skip_unreadable else None)
    with closing(decoded), (folder / PIXELS).open("wb") as pixels:
        rows, total = _write_pixels(decoded, pixels, limit_bytes=limit_bytes)
    if total > limit_bytes:
        (folder / PIXELS).unlink()
    tables = _tables(rows)
    counts = _split_counts(source, tables["numbers"])
    _check_classes(source, counts, tables["labels"])
    for name, table in tables.items():
        with (folder / f"{name}.npy").open("wb") as file:
            np.save(file, table, allow_pickle=False)
            _to_disk(file)
    content = fingerprint(
        class_names=source.class_names,
        splits=counts,
        labels=tables["labels"],
        digests=tables["digests"],
    )
    meta = {
        "format": FORMAT,
        "fingerprint": content,
        "class_names": list(source.class_names),
        "splits": counts,
        "streamed": total > limit_bytes,
        "bytes": total,
        "origin": origin,
    }
    _write_json(folder / META, meta)
    return Written(fingerprint=content, skipped=tuple(skipped))


def _decoded(
    source: Source, *, workers: int, skipped: list[str] | None
) -> Generator[_Decoded, None, None]:
    """Decode in threads, in order; unreadable images go to `skipped`, or are raised without it."""
    numbers = range(sum(source.splits.values()))

    def decode(number: int) -> _Decoded:
        return _decode(source, number)

    with (
        ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool,
        closing(_ahead(pool, decode, numbers, depth=8 * workers)) as results,
    ):
        for number, future in results:
            try:
                yield future.result()
            except DatasetError:
                if skipped is None:
                    raise
                skipped.append(source.name(number))


def _ahead(
    pool: ThreadPoolExecutor,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    depth: int,
) -> Generator[tuple[Item, Future[Result]], None, None]:
    """Like `pool.map`, but with at most `depth` results waiting in memory."""
    rest = iter(items)
    pending = deque((item, pool.submit(function, item)) for item in islice(rest, depth))
    try:
        while pending:
            yield pending.popleft()
            pending.extend((item, pool.submit(function, item)) for item in islice(rest, 1))
    finally:
        for _, future in pending:
            future.cancel()


def _decode(source: Source, number: int) -> _Decoded:
    pixels, label = source.read(number)
    digest = blake2b(f"{pixels.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(pixels).data)
    sums = pixels.sum(axis=(0, 1), dtype=np.uint64)
    squares = np.einsum("hwc,hwc->c", pixels, pixels, dtype=np.uint64)
    return _Decoded(
        number=number,
        pixels=pixels,
        label=label,
        digest=digest.digest(),
        moments=np.stack([sums, squares]),
    )


def _write_pixels(
    images: Iterator[_Decoded], out: BinaryIO, *, limit_bytes: int
) -> tuple[dict[str, list[Any]], int]:
    """Write the pixels, within the limit; the rows of the tables, and the bytes of all pixels."""
    rows: dict[str, list[Any]] = {name: [] for name in TABLES}
    total = 0
    for image in images:
        total += image.pixels.size
        if total <= limit_bytes:
            out.write(np.ascontiguousarray(image.pixels).data)
        elif out.tell():
            out.truncate(0)  # gives the space back at once: the rest of the pass may take hours
            out.seek(0)
        rows["labels"].append(image.label)
        rows["sizes"].append(image.pixels.shape[:2])
        rows["digests"].append(np.frombuffer(image.digest, np.uint8))
        rows["moments"].append(image.moments)
        rows["numbers"].append(image.number)
    _to_disk(out)
    return rows, total


def _tables(rows: dict[str, list[Any]]) -> dict[str, NDArray[Any]]:
    if not rows["labels"]:
        raise DatasetError("no image of the data set could be read")
    return {
        "labels": np.asarray(rows["labels"], np.int64),
        "sizes": np.asarray(rows["sizes"], np.int32),
        "digests": np.stack(rows["digests"]),
        "moments": np.stack(rows["moments"]),
        "numbers": np.asarray(rows["numbers"], np.int64),
    }


def _split_counts(source: Source, numbers: NDArray[np.int64]) -> dict[str, int]:
    """Images per split, those left out not counted."""
    ends = np.cumsum(list(source.splits.values()))
    counts = np.diff(np.searchsorted(numbers, ends), prepend=0)
    return dict(zip(source.splits, counts.tolist(), strict=True))


def _check_classes(source: Source, counts: dict[str, int], labels: NDArray[np.int64]) -> None:
    """Raise if a class has no image left in a split: each had one before images were left out."""
    start = 0
    for split, count in counts.items():
        present = np.bincount(labels[start : start + count], minlength=len(source.class_names))
        if missing := np.flatnonzero(present == 0).tolist():
            raise DatasetError(
                f"class '{source.class_names[missing[0]]}' has no readable image in {split}"
            )
        start += count


def _write_json(path: Path, value: dict[str, Any]) -> None:
    with path.open("wb") as file:
        file.write(json.dumps(value, indent=1).encode())
        _to_disk(file)


def _to_disk(file: BinaryIO) -> None:
    """Before a rename makes an entry look whole, its bytes are on the disk."""
    file.flush()
    os.fsync(file.fileno())
