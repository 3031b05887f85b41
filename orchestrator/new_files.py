"""Files that a command is asked for: new ones, under a fitting name, or nothing at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import NotReady, UsageError


def new_file(path: str | Path, *, option: str, suffix: str) -> Path:
    """The path, if a file of that kind can come into being there.

    Raises:
        UsageError: it ends differently, is taken, or lies nowhere or where nothing can be written.
    """
    target = Path(path)
    if target.suffix != suffix:
        raise UsageError(f"{option} {target}: the name must end in {suffix}")
    folder = target.absolute().parent
    with written_to(target, option=option):  # a name may be too long to be asked about
        taken = target.exists() or target.is_symlink()
    if taken:
        raise UsageError(in_the_way(target, option=option))
    if not folder.is_dir():
        raise UsageError(f"{option} {target}: there is no folder '{folder}'")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{option} {target}: '{folder}' is read-only")
    return target


@contextmanager
def written_to(target: Path, *, option: str) -> Iterator[None]:
    """Turn what the system refuses while a file is written into a mistake of the option's.

    Raises: UsageError.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{option} {target}: cannot be written: {reason}") from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write under; what is there in the end becomes the new file, unless it failed.

    Raises: UsageError if the file came into being meanwhile, NotReady if it cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield aside
        os.link(aside, path)  # unlike a rename, never over a file that came into being meanwhile
    except FileExistsError:
        raise UsageError(in_the_way(path)) from None
    except OSError as error:
        raise NotReady(f"--output {path}: cannot be written: {error.strerror or error}") from error
    finally:
        aside.unlink(missing_ok=True)


def in_the_way(path: Path, *, option: str = "--output") -> str:
    """What is said of an output that is there already."""
    return f"{option} {path}: exists; name another file, or remove it first"
