"""Reading a cache entry: tables without pickle, pixels memory-mapped, all checked before use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.decoded import DecodedSet, Images, MappedImages, StreamedImages, fingerprint
from trainer.data.images import shown
from trainer.data.sources import find
from trainer.data.writing import FORMAT, META, PIXELS, TABLES
from trainer.errors import DatasetError


def open_entry(entry: Path, *, workers: int) -> DecodedSet:
    """The data set in a folder that `write_entry` wrote and that is called by its fingerprint.

    Raises:
        DatasetError: the entry is damaged, or a streamed set's files have changed.
    """
    try:
        meta = read_meta(entry)
        tables = {name: _load_table(entry, name) for name in TABLES}
        images = _images(entry, meta, tables, workers)
        return _checked(meta, tables, content=entry.name, images=images)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = " ".join(str(error).split())
        raise DatasetError(
            f"cache entry '{shown(entry)}' is damaged ({why}); remove it to decode the set again"
        ) from error


def read_meta(entry: Path) -> dict[str, Any]:
    """What an entry says of itself. Raises: OSError or ValueError if it cannot be read."""
    meta = json.loads((entry / META).read_bytes())
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise ValueError(f"{META} is not of format {FORMAT}")
    return meta


def _load_table(entry: Path, name: str) -> NDArray[Any]:
    table: NDArray[Any] = np.load(entry / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    return table


def _checked(
    meta: dict[str, Any], tables: dict[str, NDArray[Any]], *, content: str, images: Images
) -> DecodedSet:
    """The entry as a value. Raises: ValueError, KeyError or TypeError if it contradicts itself."""
    labels, class_names, counts = tables["labels"], tuple(meta["class_names"]), meta["splits"]
    found = fingerprint(
        class_names=class_names, splits=counts, labels=labels, digests=tables["digests"]
    )
    if found != content:
        raise ValueError("its content is not what its name says")
    for name, shape in {"sizes": (2,), "digests": (16,), "moments": (2, 3), "numbers": ()}.items():
        if tables[name].shape != (len(labels), *shape):
            raise ValueError(f"{name} has shape {tables[name].shape}")
    ends = np.cumsum([0, *counts.values()]).tolist()
    sizes = tables["sizes"]
    return DecodedSet(
        fingerprint=content,
        class_names=class_names,
        splits={
            split: range(start, end)
            for split, start, end in zip(counts, ends[:-1], ends[1:], strict=True)
        },
        labels=labels,
        sizes=sizes,
        fixed_size=tuple(sizes[0].tolist()) if (sizes == sizes[0]).all() else None,
        digests=tables["digests"],
        moments=tables["moments"],
        images=images,
        streamed=bool(meta["streamed"]),
    )


def _images(
    entry: Path, meta: dict[str, Any], tables: dict[str, NDArray[Any]], workers: int
) -> Images:
    sizes = tables["sizes"]
    if meta["streamed"]:
        return _streamed(meta["origin"], tables["numbers"], workers)
    expected = int(sizes.astype(np.int64).prod(axis=1).sum()) * 3
    found = (entry / PIXELS).stat().st_size
    if found != expected:
        raise ValueError(f"{PIXELS} has {found} bytes instead of {expected}")
    # np.asarray: a plain array over the same mapping, since views of a memmap are slow to make
    return MappedImages(np.asarray(np.memmap(entry / PIXELS, np.uint8, mode="r")), sizes)


def _streamed(recorded: dict[str, str], numbers: NDArray[np.int64], workers: int) -> StreamedImages:
    origin = find(recorded["dataset"], data_root=Path(recorded["data_root"]))
    if origin.signature() != recorded["signature"]:
        raise DatasetError(f"data set '{shown(origin.dataset)}' has changed since it was prepared")
    source = origin.open(download=False)

    def decode(index: int) -> NDArray[np.uint8]:
        return source.read(int(numbers[index]))[0]

    return StreamedImages(decode, workers=workers)
