"""Results on standard output; whoever reads it may go away at any time."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from orchestrator.errors import NotReady


def show(lines: Iterable[str]) -> None:
    """Print lines; a reader that has seen enough (`| head`) is no error.

    Raises:
        NotReady: standard output cannot be written, as on a full disk.
    """
    if sys.stdout is None:
        return
    encoding = sys.stdout.encoding or "utf-8"
    text = "".join(f"{line}\n" for line in lines)
    try:
        sys.stdout.write(text.encode(encoding, errors="backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        _let_go()
    except OSError as error:
        _let_go()
        raise NotReady(f"cannot write to standard output: {error.strerror}") from error


def show_json(document: Any) -> None:
    """Print one JSON document, with escapes where the stream could not show the characters."""
    unicode = "utf" in (getattr(sys.stdout, "encoding", None) or "").lower()
    text = json.dumps(document, indent=1, ensure_ascii=not unicode, allow_nan=False)
    show([text])


def _let_go() -> None:
    """Let the interpreter flush into nothing at its end, where it could only complain."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # not a real file
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
