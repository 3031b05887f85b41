"""How much of the wall time two workers are at work, on trials of two seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks.driving import WORKERS, Naps, drive
from benchmarks.harness import Row, in_fresh_process, in_turn, scratch
from benchmarks.ray_tune import tune

SECONDS = 2.0


def measure(quick: bool) -> Iterator[Row]:
    """Forty trials; the start of the workers is left out for both sides."""
    trials = 4 if quick else 40
    busy = in_turn(
        {name: partial(_fraction, run, trials) for name, run in (("ours", ours), ("tune", peer))},
        rounds=1,
    )
    yield Row(
        name="worker-occupancy",
        ours=busy["ours"][0],
        peer=1.0,
        peer_name="workers that never wait",
        unit="of the wall time",
        goal=0.98,
        more_is_better=True,
        beside={"Ray Tune, reuse_actors=True": busy["tune"][0]},
        bound="the time from a trial's last report to the next one's start",
    )


def ours(folder: Path, stage: Naps) -> float:
    """Wall seconds from the first start to the last end, ours."""
    clock = drive(folder, stage)
    return clock.ends[-1] - clock.began


def peer(folder: Path, stage: Naps) -> float:
    """The same of Ray Tune, from the end of its first trials, which start the workers."""
    run = tune(
        folder,
        trials=stage.count + WORKERS,
        workers=WORKERS,
        reuse_actors=True,
        seconds=stage.seconds,
    )
    return run.ends[-1] - run.ends[WORKERS - 1]


def _fraction(run: Callable[[Path, Naps], float], trials: int) -> float:
    stage = Naps(trials, seconds=SECONDS)
    with scratch() as folder:
        wall = in_fresh_process(run, folder, stage)
    return trials * SECONDS / (WORKERS * wall)
