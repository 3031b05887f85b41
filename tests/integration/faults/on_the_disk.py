"""Faults of the disk: full, or what it holds damaged."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import OrchestratorError
from tests.integration.faults.evidence import Outcome, Whole, judge, leftovers
from tests.integration.faults.runs import STAGE, Place, Session


class CannotMount(OrchestratorError):
    """A small disk cannot be made here, usually for want of rights."""


@contextmanager
def small_disk(folder: Path, *, size: str) -> Iterator[Path]:
    """A file system of that size. Raises: CannotMount."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise CannotMount(f"no tmpfs can be mounted: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, *, leave: int) -> Path:
    """Take up the free space of a file system but for so many bytes; returns the file.

    Others may write between the look at what is free and the taking: then it is looked at again.
    """
    ballast = folder / ".ballast"
    with ballast.open("wb") as file:
        while True:
            free = shutil.disk_usage(folder).free
            try:
                os.posix_fallocate(file.fileno(), 0, max(free - leave, 1))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            else:
                return ballast


def full_for_checkpoints(place: Place, whole: Whole) -> Outcome:
    """No room for a checkpoint, while the journal's few bytes still find theirs."""
    with small_disk(place.run.root, size="400m") as disk:
        first = Session(place)
        first.until_reports(2)
        ballast = fill(disk, leave=256 * 1024)
        return _made_room(place, whole, "checkpoint", first, ballast)


def full_for_the_journal(place: Place, whole: Whole) -> Outcome:
    """No room for a journal line; the checkpoints are on another disk."""
    with small_disk(place.run.root, size="400m") as disk:
        before = Session(place)
        before.until_reports(1)
        before.end(signal.SIGTERM)
        shutil.move(place.run.stage(STAGE), place.root / STAGE)
        place.run.stage(STAGE).symlink_to(place.root / STAGE)
        first = Session(place)
        first.until_reports(1)
        ballast = fill(disk, leave=0)
        return _made_room(place, whole, "journal", first, ballast)


def _made_room(place: Place, whole: Whole, what: str, first: Session, ballast: Path) -> Outcome:
    """The run ends in one line; once there is room again, the same command goes on."""
    code = first.end()
    line = first.said[-1]
    half_written = (*leftovers(place), *_torn(place))
    ballast.unlink()
    second = Session(place)
    again = second.end()
    words = {"checkpoint": "cannot write the checkpoint", "journal": "journal.jsonl"}[what]
    one_line = line.startswith("error: ") and words in line and "No space left" in line
    quiet = "Traceback" not in "\n".join(first.said)
    return judge(
        f"disk full for a {what}" if what == "checkpoint" else "disk full for the journal",
        done="a tmpfs filled up while trials run; room made; the same command again",
        happened=f"exit code {code}, {'in one line' if one_line and quiet else line}, "
        f"{len(half_written)} files half-written; then {again}",
        place=place,
        whole=whole,
        sessions=[first, second],
        as_expected=(code, again) == (4, 0) and one_line and quiet and not half_written,
    )


def _torn(place: Place) -> list[str]:
    """The journal, if it does not end with a whole line."""
    content = place.run.journal.read_bytes()
    return [] if content.endswith(b"\n") else [place.run.journal.name]


def full_for_the_cache(place: Place, whole: Whole) -> Outcome:
    """No room for the decoded images."""
    cache = place.root / "small-cache"
    with small_disk(cache, size="200k"):
        first = Session(place, "--set", f"cache_dir={cache}")
        code = first.end()
        line, begun = first.said[-1], place.run.root.exists()
        rest = sum(file.stat().st_size for file in cache.rglob("*") if file.is_file())
        subprocess.run(["mount", "-o", "remount,size=20m", str(cache)], check=True)
        second = Session(place, "--set", f"cache_dir={cache}")
        again = second.end()
    one_line = line.startswith("error: the cache") and "No space left" in line
    return judge(
        "disk full for the cache",
        done="a tmpfs of 200 kB for the decoded images; made larger; the same command again",
        happened=f"exit code {code}, {'in one line' if one_line else line}, {rest} bytes left of "
        f"it, {'a' if begun else 'no'} run begun; then {again}",
        place=place,
        whole=whole,
        sessions=[first, second],
        as_expected=(code, again, rest, begun) == (4, 0, 0, False) and one_line,
    )


def journal_torn_and_damaged(place: Place, whole: Whole) -> Outcome:
    """The last line half-written, one in the middle unreadable."""
    first = Session(place)
    first.until_reports(6)
    first.end(signal.SIGKILL)
    lines = place.run.journal.read_bytes().splitlines(keepends=True)
    reports = [n for n, line in enumerate(lines) if json.loads(line)["event"] == "report"]
    damaged = reports[len(reports) // 2]
    lines[damaged] = b"\x00" * (len(lines[damaged]) - 1) + b"\n"
    place.run.journal.write_bytes(b"".join(lines) + b'{"event":"report","key":"')
    second = Session(place)
    code = second.end()
    notes = [line for line in second.said if line.startswith("the journal ")]
    return judge(
        "journal torn and damaged",
        done="a report's line overwritten with zeros and half a line appended, after a kill",
        happened=f"said: “{'”, “'.join(notes)}”; exit code {code}",
        place=place,
        whole=whole,
        sessions=[first, second],
        as_expected=code == 0 and len(notes) == 2,
    )


def checkpoint_damaged(place: Place, whole: Whole) -> Outcome:
    """Checkpoints of interrupted trials cut in half."""
    first = Session(place)
    first.until_reports(4)
    first.end(signal.SIGTERM)
    over = {event["key"] for event in place.events("finished")}
    found = sorted((place.run.stage(STAGE) / "trials").glob("*/last.pt"))
    cut = [path for path in found if path.parent.name not in over]
    for path in cut:
        os.truncate(path, path.stat().st_size // 2)
    second = Session(place)
    code = second.end()
    aside = [path.with_name("last.pt.damaged") for path in cut]
    kept = sum(path.exists() for path in aside)
    return judge(
        "checkpoint damaged",
        done=f"{len(cut)} files last.pt of an interrupted run cut in half",
        happened=f"{kept} renamed last.pt.damaged, their trials begun anew; exit code {code}",
        place=place,
        whole=whole,
        sessions=[first, second],
        as_expected=code == 0 and 0 < kept == len(cut),
    )
