"""A data set, read as a run would read it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.checks.finding import Finding, blocked, ok, warning

if TYPE_CHECKING:
    from trainer.data.decoded import DecodedSet

ABOUT = "data set"
LOPSIDED = 10
"""The largest class over the smallest, from which accuracies say little."""
_NAMED = 3
"""Unreadable files that are named; the others are counted."""


def check_images(dataset: str, cache: Path) -> Iterator[Finding]:
    """Counts, classes, sizes, what cannot be read, and whether it can be split.

    Decodes the set into the cache, which the first run would do otherwise.
    """
    from trainer.config import DataConfig
    from trainer.data.cache import prepare
    from trainer.data.sources import find
    from trainer.data.splits import carve
    from trainer.errors import ConfigError, DatasetError

    try:
        name = find(dataset, data_root=cache / "downloads").dataset
        decoded = prepare(name, cache_root=cache, skip_unreadable=True)
    except (ConfigError, DatasetError) as error:
        remedy = "give a known name, or a folder <split>/<class>/<file> or <class>/<file>"
        yield blocked(ABOUT, str(error), remedy)
        return
    yield ok(ABOUT, _counts(dataset, decoded))
    yield ok(ABOUT, _sizes(decoded))
    yield from _unreadable(decoded)
    yield from _balance(decoded)
    try:
        carve(decoded, DataConfig(dataset=name))
    except (ConfigError, DatasetError) as error:
        yield blocked(ABOUT, str(error), "add images to that class, or leave it out")


def _counts(dataset: str, decoded: DecodedSet) -> str:
    splits = ", ".join(f"{split} {len(numbers):,}" for split, numbers in decoded.splits.items())
    return (
        f"{dataset}: {len(decoded.labels):,} images ({splits}), {decoded.num_classes} classes: "
        f"{_some(decoded.class_names)}"
    )


def _sizes(decoded: DecodedSet) -> str:
    kept = "decoded at each access" if decoded.streamed else "decoded in the cache"
    if decoded.fixed_size:
        height, width = decoded.fixed_size
        return f"all images are {width}×{height} px; {kept}"
    low, high = decoded.sizes.min(axis=0), decoded.sizes.max(axis=0)
    return (
        f"images are {low[1]}×{low[0]} to {high[1]}×{high[0]} px, "
        f"short side usually {decoded.typical_short_side} px; {kept}"
    )


def _unreadable(decoded: DecodedSet) -> Iterator[Finding]:
    if decoded.skipped:
        says = f"{len(decoded.skipped)} files are no readable images: {_some(decoded.skipped)}"
        yield blocked(ABOUT, says, "remove or replace them, or --skip-unreadable")


def _balance(decoded: DecodedSet) -> Iterator[Finding]:
    import numpy as np

    counts = np.bincount(decoded.labels, minlength=decoded.num_classes)
    smallest, largest = int(counts.argmin()), int(counts.argmax())
    if counts[largest] >= LOPSIDED * max(counts[smallest], 1):
        names = decoded.class_names
        says = f"{names[largest]} has {counts[largest]:,} images, {names[smallest]} only "
        remedy = "add images, or read accuracies beside the share of the largest class"
        yield warning(ABOUT, f"{says}{counts[smallest]:,}", remedy)


def _some(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_NAMED])
    return f"{shown} …" if len(names) > _NAMED else shown
