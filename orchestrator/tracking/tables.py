"""A stage's folder as the files and numbers that a tracker shows."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from orchestrator.run_dir import RunDir


def flatten(value: Mapping[str, Any], *, prefix: str = "") -> dict[str, str]:
    """Nested mappings as dotted names and text; lists stay whole, as JSON; nulls are left out."""
    flat: dict[str, str] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            flat |= flatten(item, prefix=f"{name}.")
        elif item is not None:
            flat[name] = item if isinstance(item, str) else _text(item)
    return flat


def number(value: Any) -> float | None:
    """The value as a metric, or None if it is no finite number (a boolean is none)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def read_result(run_dir: RunDir, stage: str) -> dict[str, Any]:
    """The stage's result; empty where there is none that can be read."""
    try:
        document = json.loads(run_dir.result(stage).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def stage_files(run_dir: RunDir, stage: str) -> dict[str, bytes]:
    """What is kept of a concluded stage: result, policy, a table of each list, report, figures."""
    result = run_dir.result(stage)
    own = (result, run_dir.policy(stage))
    files = {path.name: path.read_bytes() for path in own if path.is_file()}
    for name, rows in read_result(run_dir, stage).items():
        if _is_table(rows):
            files[f"{name}.csv"] = csv_table(rows).encode()
    for path in [run_dir.report, *_files_below(run_dir.figures)]:
        if path.is_file():
            files[str(path.relative_to(run_dir.root))] = path.read_bytes()
    return files


def digest(files: Mapping[str, bytes]) -> str:
    """A short name for exactly these files with exactly this content."""
    hasher = hashlib.sha256()
    for name, content in sorted(files.items()):
        hasher.update(f"{name}:{len(content)}:".encode() + content)
    return hasher.hexdigest()[:16]


def csv_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV: the columns in the order in which they first appear, nested values as JSON."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(item) for name, item in row.items()} for row in rows)
    return text.getvalue()


def result_metrics(result: Mapping[str, Any]) -> list[dict[str, float]]:
    """What a result says in numbers, step by step, under the names that trials use.

    The winner's alone, as step 0; of a stage that names none, those of each row of its results, so
    that a ladder or a family is a curve.
    """
    if "winner" in result:
        winner = result["winner"]
        return [_numbers(winner)] if isinstance(winner, Mapping) else []
    rows = result.get("results")
    return [_numbers(row) for row in rows] if _is_table(rows) else []


def _numbers(row: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The mean is called `top1`, its interval `top1_low` and `top1_high`; others as they are."""
    metrics: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            metrics |= _numbers(value, f"{prefix}{name}.")
        elif name == "interval" and isinstance(value, list) and len(value) == 2:
            metrics |= _numbers({"top1_low": value[0], "top1_high": value[1]}, prefix)
        elif (finite := number(value)) is not None:
            metrics[f"{prefix}{'top1' if name == 'mean' else name}"] = finite
    return metrics


def _is_table(rows: Any) -> TypeGuard[list[Mapping[str, Any]]]:
    return isinstance(rows, list) and bool(rows) and all(isinstance(row, Mapping) for row in rows)


def _files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.name.startswith("."))


def _cell(value: Any) -> Any:
    return _text(value) if isinstance(value, (Mapping, list, bool)) else value


def _text(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
