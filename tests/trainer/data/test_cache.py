import errno
import json
import multiprocessing
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.trainer.data.factories import MakeFolder
from trainer.data import cache, sources
from trainer.data.cache import open_cached, prepare
from trainer.data.decoded import DecodedSet
from trainer.data.images import read_image
from trainer.errors import DatasetError, DiskFull

COUNTS = {"train": {"a": 6, "b": 4}, "test": {"a": 2, "b": 2}}
SIZES = [(8, 6), (5, 9), (12, 12)]


def _files(root: Path) -> list[Path]:
    return [path for split in ("train", "test") for path in sorted((root / split).rglob("*.png"))]


def _entries(cache_root: Path) -> list[str]:
    return sorted(path.name for path in (cache_root / "sets").iterdir())


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The image files that are read, as they are read."""
    read: list[Path] = []

    def noted(path: Path) -> np.ndarray:
        read.append(path)
        return read_image(path)

    monkeypatch.setattr(sources, "read_image", noted)
    return read


@pytest.mark.parametrize("sizes", [[(8, 8)], SIZES], ids=["one size", "several"])
@pytest.mark.parametrize("limit_bytes", [10**6, 0], ids=["kept", "streamed"])
def test_what_comes_out_is_what_the_files_show(
    make_folder: MakeFolder, cache_root: Path, sizes: list[tuple[int, int]], limit_bytes: int
) -> None:
    root = make_folder(COUNTS, sizes=sizes)
    prepared = prepare(str(root), cache_root=cache_root, limit_bytes=limit_bytes)
    for decoded in (prepared, open_cached(cache_root, prepared.fingerprint)):
        assert decoded.splits == {"train": range(10), "test": range(10, 14)}
        assert decoded.labels.tolist() == [0] * 6 + [1] * 4 + [0] * 2 + [1] * 2
        assert decoded.streamed == (limit_bytes == 0)
        assert decoded.fixed_size == ((8, 8) if len(sizes) == 1 else None)
        for index, path in enumerate(_files(root)):
            assert np.array_equal(decoded.images[index], read_image(path))


def test_the_usual_short_side_is_the_median(make_folder: MakeFolder, cache_root: Path) -> None:
    root = make_folder({"": {"a": 3, "b": 3}}, sizes=SIZES)
    assert prepare(str(root), cache_root=cache_root).typical_short_side == 6


def test_a_second_start_reads_no_image(
    make_folder: MakeFolder, cache_root: Path, decodings: list[Path]
) -> None:
    root = make_folder(COUNTS)
    first = prepare(str(root), cache_root=cache_root)
    assert sorted(decodings) == sorted(_files(root.resolve()))
    decodings.clear()
    assert prepare(str(root), cache_root=cache_root).fingerprint == first.fingerprint
    assert decodings == []


def test_a_touched_file_is_read_again_and_its_content_decides(
    make_folder: MakeFolder, cache_root: Path, decodings: list[Path]
) -> None:
    root = make_folder(COUNTS)
    first = prepare(str(root), cache_root=cache_root)
    file = _files(root)[3]
    os.utime(file, ns=(1, 1))
    decodings.clear()
    assert prepare(str(root), cache_root=cache_root).fingerprint == first.fingerprint
    assert decodings
    Image.new("RGB", (8, 8), "red").save(file)
    changed = prepare(str(root), cache_root=cache_root)
    assert changed.fingerprint != first.fingerprint
    assert (changed.images[3] == (255, 0, 0)).all()


def test_the_fingerprint_is_of_the_pixels_not_of_the_files(
    make_folder: MakeFolder, cache_root: Path
) -> None:
    root = make_folder(COUNTS)
    first = prepare(str(root), cache_root=cache_root)
    for path in _files(root):
        Image.open(path).save(path.with_suffix(".bmp"))
        path.unlink()
    moved = root.rename(root.with_name("moved"))
    assert prepare(str(moved), cache_root=cache_root).fingerprint == first.fingerprint
    assert _entries(cache_root) == [first.fingerprint]


@pytest.mark.parametrize("change", ["class name", "label", "split"])
def test_the_fingerprint_sees_more_than_pixels(
    make_folder: MakeFolder, cache_root: Path, change: str
) -> None:
    root = make_folder(COUNTS)
    first = prepare(str(root), cache_root=cache_root).fingerprint
    if change == "class name":
        (root / "train" / "a").rename(root / "train" / "A")
        (root / "test" / "a").rename(root / "test" / "A")
    elif change == "label":
        (root / "train" / "a" / "0005.png").rename(root / "train" / "b" / ".." / "b" / "-.png")
    else:
        (root / "test").rename(root / "val")
    assert prepare(str(root), cache_root=cache_root).fingerprint != first


def test_pixels_cannot_be_written_to(small: DecodedSet) -> None:
    with pytest.raises(ValueError, match="read-only"):
        small.images[0][:] = 0


def test_an_unreadable_file_is_named_or_left_out_and_counted(
    make_folder: MakeFolder, cache_root: Path
) -> None:
    root = make_folder(COUNTS)
    bad = root / "train" / "a" / "0002.png"
    bad.write_bytes(b"no picture")
    (root / "test" / "b" / "notes.txt").write_text("no picture either")
    with pytest.raises(DatasetError, match="is not a readable image"):
        prepare(str(root), cache_root=cache_root)
    for _ in range(2):  # decoded, then remembered
        decoded = prepare(str(root), cache_root=cache_root, skip_unreadable=True)
        assert [Path(name).name for name in decoded.skipped] == ["0002.png", "notes.txt"]
        assert decoded.splits == {"train": range(9), "test": range(9, 13)}
        assert decoded.labels.tolist() == [0] * 5 + [1] * 4 + [0] * 2 + [1] * 2
    with pytest.raises(DatasetError, match="is not a readable image"):
        prepare(str(root), cache_root=cache_root)


def test_a_streamed_set_leaves_out_what_was_left_out(
    make_folder: MakeFolder, cache_root: Path
) -> None:
    root = make_folder(COUNTS)
    files = _files(root)
    files[2].write_bytes(b"no picture")
    decoded = prepare(str(root), cache_root=cache_root, skip_unreadable=True, limit_bytes=0)
    assert np.array_equal(decoded.images[2], read_image(files[3]))


def test_a_class_with_nothing_readable_is_named(make_folder: MakeFolder, cache_root: Path) -> None:
    root = make_folder({"train": {"a": 2, "b": 1}})
    (root / "train" / "b" / "0000.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="class 'b' has no readable image in train"):
        prepare(str(root), cache_root=cache_root, skip_unreadable=True)
    assert _entries(cache_root) == []


def test_a_streamed_set_that_changed_is_noticed(make_folder: MakeFolder, cache_root: Path) -> None:
    root = make_folder(COUNTS)
    decoded = prepare(str(root), cache_root=cache_root, limit_bytes=0)
    os.utime(_files(root)[0], ns=(1, 1))
    with pytest.raises(DatasetError, match="has changed since it was prepared"):
        open_cached(cache_root, decoded.fingerprint)


def test_a_larger_limit_ends_the_streaming(make_folder: MakeFolder, cache_root: Path) -> None:
    root = make_folder(COUNTS)
    streamed = prepare(str(root), cache_root=cache_root, limit_bytes=14 * 8 * 8 * 3 - 1)
    kept = prepare(str(root), cache_root=cache_root, limit_bytes=14 * 8 * 8 * 3)
    assert (streamed.streamed, kept.streamed) == (True, False)
    assert streamed.fingerprint == kept.fingerprint


def test_expected_images_are_decoded_once(
    make_folder: MakeFolder, cache_root: Path, decodings: list[Path]
) -> None:
    decoded = prepare(str(make_folder(COUNTS)), cache_root=cache_root, limit_bytes=0)
    decodings.clear()
    decoded.images.expect(np.arange(3))
    for index in range(3):
        assert decoded.images[index].shape == (8, 8, 3)
    assert len(decodings) == 3


def _prepare_slowly(root: Path, cache_root: Path) -> None:
    def slow(path: Path) -> np.ndarray:
        time.sleep(0.2)
        return read_image(path)

    vars(sources)["read_image"] = slow
    prepare(str(root), cache_root=cache_root, workers=1)


def _prepare_counting(root: Path, cache_root: Path, counts: "multiprocessing.Queue[int]") -> None:
    read = []

    def counted(path: Path) -> np.ndarray:
        read.append(path)
        return read_image(path)

    vars(sources)["read_image"] = counted
    prepare(str(root), cache_root=cache_root)
    counts.put(len(read))


SPAWN = multiprocessing.get_context("spawn")


def test_of_two_processes_one_decodes_and_the_other_waits(
    make_folder: MakeFolder, cache_root: Path
) -> None:
    root, counts = make_folder(COUNTS), SPAWN.Queue()
    processes = [
        SPAWN.Process(target=_prepare_counting, args=(root, cache_root, counts)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    assert sorted(counts.get(timeout=60) for _ in processes) == [0, 0, 14]
    for process in processes:
        process.join()


def test_a_killed_preparer_leaves_nothing_half(make_folder: MakeFolder, cache_root: Path) -> None:
    root = make_folder(COUNTS)
    process = SPAWN.Process(target=_prepare_slowly, args=(root, cache_root))
    process.start()
    while not list(cache_root.glob("unfinished/*/pixels.bin")):
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not _entries(cache_root)
    decoded = prepare(str(root), cache_root=cache_root)
    assert _entries(cache_root) == [decoded.fingerprint]
    assert list((cache_root / "unfinished").iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing(make_folder: MakeFolder, cache_root: Path) -> None:
    root = make_folder(COUNTS)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # stands in for a full disk
    try:
        with pytest.raises(DatasetError, match="cannot be written: File too large; make room"):
            prepare(str(root), cache_root=cache_root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert _entries(cache_root) == []
    assert list((cache_root / "unfinished").iterdir()) == []


def test_no_room_for_the_cache_is_the_machines_fault(
    make_folder: MakeFolder, cache_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache, "write_entry", no_room)
    with pytest.raises(DiskFull, match="cannot be written: No space left on device; make room"):
        prepare(str(make_folder(COUNTS)), cache_root=cache_root)
    assert _entries(cache_root) == []


def test_a_cache_that_cannot_be_made_is_said(make_folder: MakeFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="cannot be written"):
        prepare(str(make_folder(COUNTS)), cache_root=tmp_path / "file" / "cache")


def _cut(name: str) -> Callable[[Path], None]:
    def damage(entry: Path) -> None:
        data = (entry / name).read_bytes()
        (entry / name).write_bytes(data[: len(data) // 2])

    return damage


def _pickle(entry: Path) -> None:
    np.save(entry / "labels.npy", np.array([print], dtype=object), allow_pickle=True)


def _other_label(entry: Path) -> None:
    labels = np.load(entry / "labels.npy")
    labels[0] = 1
    np.save(entry / "labels.npy", labels)


def _other_meta(**changes: object) -> Callable[[Path], None]:
    def damage(entry: Path) -> None:
        meta = json.loads((entry / "meta.json").read_text())
        (entry / "meta.json").write_text(json.dumps(meta | changes))

    return damage


DAMAGE = {
    "pixels": _cut("pixels.bin"),
    "meta": _cut("meta.json"),
    "labels": _cut("labels.npy"),
    "sizes": _cut("sizes.npy"),
    "no pixels": lambda entry: (entry / "pixels.bin").unlink(),
    "pickle": _pickle,
    "other label": _other_label,
    "format": _other_meta(format=0),
    "classes": _other_meta(class_names=None),
    "splits": _other_meta(splits=[14]),
    "other splits": _other_meta(splits={"train": 11, "test": 3}),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_entry_is_refused_by_workers_and_made_anew_by_prepare(
    make_folder: MakeFolder, cache_root: Path, damage: str
) -> None:
    root = make_folder(COUNTS)
    decoded = prepare(str(root), cache_root=cache_root)
    DAMAGE[damage](cache_root / "sets" / decoded.fingerprint)
    with pytest.raises(DatasetError, match="is damaged"):
        open_cached(cache_root, decoded.fingerprint)
    again = prepare(str(root), cache_root=cache_root)
    assert again.fingerprint == decoded.fingerprint
    assert np.array_equal(again.images[0], read_image(_files(root)[0]))


def test_a_fingerprint_is_a_name_never_a_path(small: DecodedSet, cache_root: Path) -> None:
    shutil.move(cache_root / "sets" / small.fingerprint, cache_root / small.fingerprint)
    with pytest.raises(DatasetError, match="has no data set"):
        open_cached(cache_root, f"../{small.fingerprint}")
