"""Measure in turn, compare with a named peer, say it in a line, keep it as a row."""

from __future__ import annotations

import gc
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, ParamSpec, TypeAlias, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Skipped(Exception):
    """A benchmark cannot be run here; the message says what it lacks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One claim, measured."""

    name: str
    ours: float
    peer: float
    peer_name: str
    """What `peer` is: other software under the same work, or a limit that we set ourselves."""
    unit: str
    goal: float
    """The smallest ratio with which the claim holds."""
    more_is_better: bool = False
    beside: Mapping[str, float] = field(default_factory=dict)
    """Further figures of the same run, which decide nothing."""
    bound: str = ""
    """What our side spends its time (or bytes) on: the reason given where the goal is missed."""

    @property
    def ratio(self) -> float:
        """How many times better than the peer."""
        better, worse = (self.ours, self.peer) if self.more_is_better else (self.peer, self.ours)
        return better / worse

    @property
    def holds(self) -> bool:
        """Whether the claim can be made."""
        return self.ratio >= self.goal

    def to_json(self, environment: str) -> dict[str, Any]:
        """The row of `results.json`."""
        row: dict[str, Any] = {
            "name": self.name,
            "ours": rounded(self.ours),
            "peer": rounded(self.peer),
            "peer_name": self.peer_name,
            "unit": self.unit,
            "ratio": rounded(self.ratio),
            "goal": rounded(self.goal),
            "holds": self.holds,
        }
        if not self.holds:
            row["why"] = self.bound or "not known yet"
        if self.beside:
            row["beside"] = {name: rounded(value) for name, value in self.beside.items()}
        return {**row, "environment": environment}

    def to_line(self) -> str:
        """The row for people."""
        verdict = "holds" if self.holds else "MISSED"
        line = (
            f"{verdict:6}  {self.name}: {self.ours:.4g} {self.unit}; {self.peer_name} "
            f"{self.peer:.4g}; ratio {self.ratio:.4g}, goal {self.goal:.4g}"
        )
        beside = "; ".join(f"{name} {value:.4g}" for name, value in self.beside.items())
        why = "" if self.holds else f"\n        why: {self.bound or 'not known yet'}"
        return line + (f"  ({beside})" if beside else "") + why


Benchmark: TypeAlias = Callable[[bool], Iterator[Row]]
"""Yields a row per claim; given True it does as little as shows that it works (`--quick`).
Raises: Skipped."""


def rounded(value: float) -> float:
    """Four significant digits: the machine gives no more."""
    return float(f"{value:.4g}")


def seconds(work: Callable[[], object]) -> float:
    """Wall time of the work, with no garbage of others to collect."""
    gc.collect()
    started = perf_counter()
    work()
    return perf_counter() - started


def in_turn(work: Mapping[str, Callable[[], T]], *, rounds: int) -> dict[str, list[T]]:
    """Results by name, everybody once a round: a machine that slows down slows all of them."""
    results: dict[str, list[T]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, run in work.items():
            results[name].append(run())
    return results


def in_fresh_process(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The function's result from a new interpreter, whose output is dropped.

    Nothing imported, cached or tuned by an earlier measurement is there. The function must be
    importable by name, and what goes in and out must pickle.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_silence) as pool:
        return pool.submit(function, *args, **kwargs).result()


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for the time of a measurement."""
    # Workers that were just ended may still be writing.
    with TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def environment() -> str:
    """The machine and what else it was doing, on one line."""
    cpus, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return (
        f"{cpus} CPUs ({platform.machine()}), load {load:.1f}, Python {platform.python_version()}, "
        f"torch {version('torch')}, ray {version('ray')}"
    )
