"""What the controller costs a trial that does nothing: time, memory, and a restart."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

from benchmarks.driving import WORKERS, Naps, drive, restart
from benchmarks.harness import Row, in_fresh_process, in_turn, scratch, seconds
from benchmarks.ray_tune import TuneRun, tune

LIMIT_SECONDS = 2e-3
LIMIT_BYTES = 2048
LIMIT_RESTART_SECONDS = 5.0
GROUP = 50
"""Trials timed together: two workers end theirs in pairs."""

BOUND = (
    "the wait for the disk before a trial starts, handing it to Ray, and taking two messages from "
    "its stream"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is run."""

    trials: int = 1_000
    many: int = 10_200
    warming: int = 200
    thousand: int = 1_000
    peer_seconds: float = 60.0
    peer_trials: int = 20_000


QUICK = Size(trials=200, many=400, warming=100, thousand=100, peer_trials=6)


def measure(quick: bool) -> Iterator[Row]:
    """Two workers, a journal on disk; Ray Tune with the same trials for a minute each way."""
    size = QUICK if quick else Size()
    peer = partial(_tune, size)
    seen = in_turn({"ours": partial(_ours, size.trials)}, rounds=1)["ours"]
    reused = peer(reuse_actors=True)
    default = peer(reuse_actors=False)
    seen += in_turn({"ours": partial(_ours, size.trials)}, rounds=1)["ours"]
    cost = median(cost for ends in seen for cost in costs(ends))
    yield from _against(cost, reused, default)
    yield from _in_the_long_run(size, reused)


def _against(cost: float, reused: TuneRun, default: TuneRun) -> Iterator[Row]:
    yield Row(
        name="controller-ms-per-trial",
        ours=1e3 * cost,
        peer=1e3 * LIMIT_SECONDS,
        peer_name="limit",
        unit="ms a no-op trial",
        goal=1.0,
        beside={"ms of one wait for the disk": 1e3 * fsync_seconds()},
        bound=BOUND,
    )
    yield Row(
        name="controller-against-tune-reusing-actors",
        ours=1e3 * cost,
        peer=1e3 * reused.seconds_per_trial,
        peer_name="Ray Tune, reuse_actors=True",
        unit="ms a no-op trial",
        goal=5.0,
        beside={"its trials": len(reused.ends)},
        bound=BOUND,
    )
    yield Row(
        name="controller-against-tune",
        ours=1e3 * cost,
        peer=1e3 * default.seconds_per_trial,
        peer_name="Ray Tune, default actors",
        unit="ms a no-op trial",
        goal=200.0,
        beside={"its trials": len(default.ends)},
        bound=BOUND,
    )


def _in_the_long_run(size: Size, reused: TuneRun) -> Iterator[Row]:
    with scratch() as folder:
        stage = Naps(size.many)
        ends, weights = in_fresh_process(_long_run, folder, stage, weigh_every=size.warming)
        again = [in_fresh_process(restart, folder, stage) for _ in range(3)]
    steps = [ends[number] for number in range(size.warming - 1, size.many, size.thousand)]
    thousands = [(late - early) / size.thousand for early, late in pairwise(steps)]
    yield Row(
        name="controller-flat",
        ours=1e3 * max(thousands),
        peer=1e3 * thousands[0],
        peer_name="the first thousand",
        unit=f"ms a trial in the slowest thousand of {size.many - size.warming:,}",
        goal=1 / 1.3,
        bound="something else ran beside the slowest thousand, or a cost grows with the history",
    )
    yield Row(
        name="controller-bytes-per-trial",
        ours=(weights[-1] - weights[0]) / (size.many - size.warming),
        peer=LIMIT_BYTES,
        peer_name="limit",
        unit="bytes of resident memory",
        goal=1.0,
        beside={"Ray Tune, reuse_actors=True": reused.bytes_per_trial},
        bound="the line that proposed a trial, its reports, and Ray's own record of its call",
    )
    yield Row(
        name="controller-restart-seconds",
        ours=median(again),
        peer=LIMIT_RESTART_SECONDS,
        peer_name="limit",
        unit=f"s on {size.many:,} finished trials",
        goal=1.0,
        bound="reading the journal's lines as JSON",
    )


def costs(ends: Sequence[float]) -> list[float]:
    """Seconds a trial, of each group of consecutive ones."""
    return [(late - early) / GROUP for early, late in pairwise(ends[::GROUP])]


def fsync_seconds() -> float:
    """One short write to a file where the journals of this benchmark lie, waited for."""
    with scratch() as folder, (folder / "file").open("wb", buffering=0) as file:

        def write() -> None:
            file.write(b"x" * 500)
            os.fsync(file.fileno())

        return median(seconds(write) for _ in range(100))


def _ours(trials: int) -> list[float]:
    with scratch() as folder:
        return in_fresh_process(_ends, folder, Naps(trials))


def _ends(folder: Path, stage: Naps) -> list[float]:
    return drive(folder, stage).ends.tolist()


def _long_run(folder: Path, stage: Naps, *, weigh_every: int) -> tuple[list[float], list[int]]:
    clock = drive(folder, stage, weigh_every=weigh_every)
    return clock.ends.tolist(), clock.bytes


def _tune(size: Size, *, reuse_actors: bool) -> TuneRun:
    with scratch() as folder:
        return in_fresh_process(
            tune,
            folder,
            trials=size.peer_trials,
            workers=WORKERS,
            reuse_actors=reuse_actors,
            budget_seconds=size.peer_seconds,
        )
