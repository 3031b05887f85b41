"""`python -m benchmarks`: measure the claims one after another and write them down."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import (
    augmentation,
    controller_cost,
    input_pipeline,
    mirror,
    policy_search,
    resolution,
    screening,
    start_up,
    trials_per_hour,
    tricks,
    worker_occupancy,
)
from benchmarks.harness import Benchmark, Skipped, environment

BENCHMARKS: dict[str, Benchmark] = {
    "screening": screening.measure,
    "start-up": start_up.measure,
    "augmentation": augmentation.measure,
    "policy-search": policy_search.measure,
    "resolution": resolution.measure,
    "tricks": tricks.measure,
    "input-pipeline": input_pipeline.measure,
    "worker-occupancy": worker_occupancy.measure,
    "mirror": mirror.measure,
    "controller-cost": controller_cost.measure,
    "trials-per-hour": trials_per_hour.measure,
}
"""One file a claim, or a family of claims; the short ones first."""

RESULTS = Path(__file__).parent / "results.json"


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line per claim; write the rows, unless a part or a quick look was asked for."""
    arguments = _parser().parse_args(argv)
    print(environment(), flush=True)
    target = arguments.output or (None if arguments.quick else RESULTS)
    rows: list[dict[str, Any]] = []
    for name in arguments.only or BENCHMARKS:
        rows += _measured(name, quick=arguments.quick)
        if target is not None:  # each time: half an hour's figures should not hang on the last
            kept = _others(target, rows) if arguments.only else []
            _write(target, kept + rows)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--only", action="append", choices=BENCHMARKS, help="this one; may be repeated"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="see that they run: too little work for figures, written to --output alone",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"default: {RESULTS.name}")
    return parser


def _measured(name: str, *, quick: bool) -> list[dict[str, Any]]:
    where = environment()  # before the benchmark itself is the load
    rows = []
    try:
        for row in BENCHMARKS[name](quick):
            print(row.to_line(), flush=True)
            rows.append(row.to_json(where))
    except Skipped as reason:
        print(f"skipped {name}: {reason}", flush=True)
    return rows


def _others(target: Path, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the file holds of claims that were not measured this time."""
    if not target.exists():
        return []
    measured = {row["name"] for row in rows}
    written: list[dict[str, Any]] = json.loads(target.read_text(encoding="utf-8"))
    return [row for row in written if row["name"] not in measured]


def _write(target: Path, rows: Sequence[dict[str, Any]]) -> None:
    text = json.dumps(rows, indent=1, ensure_ascii=False, allow_nan=False)
    target.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
