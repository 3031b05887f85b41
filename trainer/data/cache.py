"""Data sets decoded once: a folder per content, memory-mapped by every process that trains on it.

    <cache>/sets/<fingerprint>/   pixels.bin, labels.npy, …, meta.json: written aside, then renamed
    <cache>/known/<signature>.json   which content was found behind which files, sizes and times
    <cache>/locks/, <cache>/unfinished/   one preparer at a time per data set; what it is writing

Nothing in it is ever executed: tables are read without pickle and checked against the fingerprint.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from pathlib import Path

from trainer.data.decoded import DecodedSet
from trainer.data.entries import open_entry, read_meta
from trainer.data.images import shown
from trainer.data.sources import Origin, find
from trainer.data.writing import Written, write_entry
from trainer.errors import DatasetError, DiskFull, is_disk_full

LIMIT_BYTES = 20 * 2**30
"""Pixels of one data set that are kept decoded; larger sets are decoded at each access."""


def prepare(
    dataset: str,
    *,
    cache_root: Path,
    data_root: Path | None = None,
    download: bool = False,
    skip_unreadable: bool = False,
    workers: int = 2,
    limit_bytes: int = LIMIT_BYTES,
) -> DecodedSet:
    """The data set of that name or in that folder, decoded; at once if its files are unchanged.

    Processes that prepare the same set wait for the first, and one that is killed leaves nothing
    that the next would take for whole.

    Args:
        dataset: `digits`, the name of a torchvision set, or the path of an image folder.
        cache_root: folder of the cache, made if missing.
        data_root: folder of the torchvision sets, `downloads` in the cache by default.
        download: fetch a torchvision set that is not there.
        skip_unreadable: leave out files that are no images, and name them in `skipped`.
        workers: threads that decode.
        limit_bytes: sets with more bytes of pixels are streamed.

    Raises:
        ConfigError: the name is unknown.
        DatasetError: the data set is missing, makes no sense or cannot be read, or the cache
            cannot be written.
        DiskFull: there is no room for the cache.
    """
    cache_root = cache_root.absolute()
    data_root = (data_root or cache_root / "downloads").absolute()
    origin = find(dataset, data_root=data_root)
    remembered = partial(
        _known, cache_root, origin, skip_unreadable=skip_unreadable, limit_bytes=limit_bytes
    )
    if known := remembered():
        return known
    with _writing_to(cache_root), _lock(cache_root, origin):
        if known := remembered():
            return known  # prepared by whoever held the lock
        source = origin.open(download=download)
        write = partial(
            write_entry,
            source=source,
            workers=workers,
            limit_bytes=limit_bytes,
            skip_unreadable=skip_unreadable,
        )
        written = _decode(cache_root, data_root, origin, write)
    decoded = open_cached(cache_root, written.fingerprint, workers=workers)
    return replace(decoded, skipped=written.skipped)


def _decode(
    cache_root: Path, data_root: Path, origin: Origin, write: Callable[..., Written]
) -> Written:
    """Have the entry written aside, put it in its place, and remember what led to it."""
    signature = origin.signature()  # once more: a download has just changed it
    recorded = {
        "dataset": origin.dataset,
        "data_root": str(data_root),
        "signature": signature,
    }
    aside = cache_root / "unfinished" / _key(origin)
    shutil.rmtree(aside, ignore_errors=True)  # of a preparer that was killed: we hold its lock
    try:
        written = write(aside, origin=recorded)
        _put_in_place(aside, _entry(cache_root, written.fingerprint))
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    record = aside.with_suffix(".json")
    record.write_text(json.dumps({"fingerprint": written.fingerprint, "skipped": written.skipped}))
    record.rename(_record(cache_root, signature))
    return written


def open_cached(cache_root: Path, fingerprint: str, *, workers: int = 2) -> DecodedSet:
    """The data set with this fingerprint, as `prepare` left it in this cache.

    Raises:
        DatasetError: it is not there or is damaged, or a streamed set's files have changed.
    """
    entry = _entry(cache_root.absolute(), fingerprint)
    if not entry.is_dir():
        raise DatasetError(
            f"the cache '{shown(cache_root)}' has no data set '{shown(fingerprint)}'"
        )
    return open_entry(entry, workers=workers)


def _known(
    cache_root: Path, origin: Origin, *, skip_unreadable: bool, limit_bytes: int
) -> DecodedSet | None:
    """What these very files were decoded to earlier, unless it would now be done differently."""
    signature = origin.signature()
    try:
        record = json.loads(_record(cache_root, signature).read_bytes())
        skipped = tuple(record["skipped"])
        decoded = open_cached(cache_root, record["fingerprint"])
        meta = read_meta(_entry(cache_root, decoded.fingerprint))
    except (OSError, ValueError, KeyError, TypeError, DatasetError):
        return None  # not there, or damaged: decoding puts it right
    if skipped and not skip_unreadable:
        return None
    if decoded.streamed and (
        meta["bytes"] <= limit_bytes or meta["origin"]["signature"] != signature
    ):
        return None
    return replace(decoded, skipped=skipped)


def _put_in_place(aside: Path, entry: Path) -> None:
    """Rename a whole entry to its name; one that is there already stays if it is as good."""
    entry.parent.mkdir(exist_ok=True)
    if entry.is_dir():
        try:
            if not open_entry(entry, workers=1).streamed:
                return
        except DatasetError:
            pass  # damaged: make way
        old = aside.with_suffix(".old")
        entry.rename(old)
        shutil.rmtree(old)
    try:
        aside.rename(entry)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise  # else: the same content, from another folder, was a moment faster


@contextmanager
def _writing_to(cache_root: Path) -> Iterator[None]:
    try:
        for folder in ("sets", "known", "locks", "unfinished"):
            (cache_root / folder).mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        kind = DiskFull if is_disk_full(error) else DatasetError
        raise kind(
            f"the cache '{shown(cache_root)}' cannot be written: {error.strerror or error}; "
            "make room, or choose another cache folder"
        ) from error


@contextmanager
def _lock(cache_root: Path, origin: Origin) -> Iterator[None]:
    """Held by one preparer of a data set at a time; the system frees it when the holder dies."""
    with (cache_root / "locks" / _key(origin)).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _key(origin: Origin) -> str:
    return blake2b(os.fsencode(origin.dataset), digest_size=16).hexdigest()


def _entry(cache_root: Path, fingerprint: str) -> Path:
    return cache_root / "sets" / Path(fingerprint).name  # a name: never a path out of the cache


def _record(cache_root: Path, signature: str) -> Path:
    return cache_root / "known" / f"{signature}.json"
