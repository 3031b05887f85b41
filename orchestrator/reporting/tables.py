"""Result documents as aligned plain text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from orchestrator.reporting.formats import (
    coefficient,
    counted,
    decimal,
    duration,
    magnitude,
    percent,
    size,
)

Row: TypeAlias = Mapping[str, Any]
Columns: TypeAlias = Mapping[str, Callable[[Row], str]]
"""Header -> what a row says under it; a column in which no row says anything is left out."""


def aligned(columns: Columns, rows: Sequence[Row]) -> list[str]:
    """A header and the rows, numbers to the right and words to the left."""
    texts = {header: [text_of(row) for row in rows] for header, text_of in columns.items()}
    shown = {header: cells for header, cells in texts.items() if any(cells)}
    padded = [_padded(header, cells) for header, cells in shown.items()]
    return ["  ".join(line).rstrip() for line in zip(*padded, strict=True)]


def _padded(header: str, cells: Sequence[str]) -> list[str]:
    width = max(map(len, (header, *cells)))
    numbers = all(not cell or cell[0] in "-0123456789" for cell in cells)
    return [text.rjust(width) if numbers else text.ljust(width) for text in (header, *cells)]


def cell(key: str, form: Callable[[Any], str] = str) -> Callable[[Row], str]:
    """What a row holds under a key, in a form; nothing where that is None."""
    return lambda row: "" if row.get(key) is None else form(row[key])


def interval_text(bounds: Sequence[float]) -> str:
    """Two limits of an accuracy, in percent."""
    low, high = bounds
    return f"{100 * low:.2f} to {percent(high)}"


def _rough(factor: float) -> str:
    return f"{factor:.2f}"


def _whole(number: int) -> str:
    return f"{number:,}"


NETWORK: Columns = {
    "α": cell("alpha", coefficient),
    "β": cell("beta", coefficient),
    "γ": cell("gamma", coefficient),
    "αβ²γ²": cell("formula", lambda value: f"{value:.3f}"),
    "cost": cell("macs_ratio", lambda value: f"{value:.3f}x"),
    "MACs": cell("macs", magnitude),
    "params": cell("params", magnitude),
    "px": cell("resolution"),
    "repeats": cell("repeats", lambda values: "-".join(map(str, values))),
    "points": cell("equal_points", lambda points: str(len(points))),
}
SCORES: Columns = {
    "α": NETWORK["α"],
    "β": NETWORK["β"],
    "γ": NETWORK["γ"],
    "cost": NETWORK["cost"],
    "params": NETWORK["params"],
    "px": NETWORK["px"],
    "epochs": cell("epochs"),
    "seeds": cell("seeds", lambda seeds: str(len(seeds))),
    "top-1": cell("mean", percent),
    "95 % interval": cell("interval", interval_text),
    "status": cell("status"),
    "error": cell("error"),
}
CONTROLS: Columns = {"control": cell("control"), **SCORES}
FAMILY: Columns = {
    "name": cell("name"),
    "φ": cell("phi", decimal),
    "depth": cell("depth", _rough),
    "width": cell("width", _rough),
    "px": cell("resolution"),
    "params": cell("params", magnitude),
    "MACs": cell("macs", magnitude),
    "cost": NETWORK["cost"],
    "F^φ": cell("target_ratio", lambda value: f"{value:.3f}x"),
    "repeats": NETWORK["repeats"],
}
STATUS: Columns = {
    "stage": cell("stage"),
    **{name: cell(name) for name in ("complete", "running", "pruned", "failed", "waiting")},
    "best": cell("best", percent),
}


def next_lines(run_dir: Path | None) -> Iterator[str]:
    """What to type after a search that left a run directory; nothing after a dry run."""
    if run_dir is None:
        return
    near = run_dir.relative_to(Path.cwd()) if run_dir.is_relative_to(Path.cwd()) else run_dir
    yield ""
    yield f"report     {near / 'report.md'}"
    yield f"browse     orchestrator ui --run-dir {near}"
    yield f"go on      the same command with --run-dir {near}; more --seeds train only what is new"


def scaling_lines(document: Row) -> Iterator[str]:
    """A coefficient search: the plan, or once it has ended the result."""
    yield from _asked(document)
    if "results" not in document:
        yield from titled("candidates", NETWORK, document["candidates"])
        yield from planned_lines(document)
        return
    finalists, others = [
        [row for row in document["results"] if row.get("finalist", True) is wanted]
        for wanted in (True, False)
    ]
    yield from titled("results, top-1 on the selection split", SCORES, finalists)
    yield from titled("dropped on the way, by one run each", SCORES, others)
    yield from titled("controls, at their own cost", CONTROLS, document.get("controls") or [])
    yield from titled("the family of the winner", FAMILY, document.get("family") or [])
    yield from _verdict(document)


def status_lines(document: Row) -> Iterator[str]:
    """Where a run stands."""
    holder = document["controller"]["holder"]
    yield f"{document['run_dir']}: {f'at work: {holder}' if holder else 'nobody is at work'}"
    rows = [{"stage": stage, **counts} for stage, counts in document["stages"].items()]
    yield from titled("", STATUS, rows) if rows else ("no stage has begun",)


def titled(title: str, columns: Columns, rows: Sequence[Row]) -> Iterator[str]:
    """A blank line, the title and the table; nothing where there are no rows."""
    if rows:
        yield ""
        if title:
            yield title
        yield from aligned(columns, rows)


def _asked(document: Row) -> Iterator[str]:
    start, grid, limit = document["baseline"], document["grid"], document["constraint"]
    measure = "αβ²γ²" if limit["kind"] == "formula" else "counted cost"
    target = f"{decimal(limit['target_ratio'])} ± {decimal(limit['tolerance'])}"
    yield f"budget     {measure} {target} times the baseline's"
    width = "" if start["width"] == 1 else f" at width {decimal(start['width'])}"
    yield (
        f"baseline   {start['name']}{width}, {start['resolution']} px: "
        f"{_whole(start['params'])} parameters, {_whole(start['macs'])} multiply-adds"
    )
    yield (
        f"grid       {counted(grid['points'], 'point')}: {_whole(grid['within_formula'])} keep to "
        f"the budget by formula, {_whole(grid['within_counted'])} counted; "
        f"{counted(grid['distinct'], 'distinct network')}"
    )


def planned_lines(document: Row) -> Iterator[str]:
    """What a plan costs, and what speaks against it."""
    plan = document["plan"]
    yield ""
    hours = plan.get("estimated_hours")
    gpu_hours = plan.get("estimated_gpu_hours")
    yield "plan       " + ", ".join(
        (
            counted(plan["trials"], "trial"),
            f"{counted(plan['epochs'], 'epoch')} in all",
            *([] if hours is None else [f"about {duration(3600 * hours)}"]),
            *([f"{gpu_hours:.1f} GPU hours"] if gpu_hours else []),
            f"{size(plan['disk_bytes'])} of disk",
        )
    )
    for warning in (*document.get("warnings", ()), *plan.get("warnings", ())):
        yield f"warning    {warning}"


def _verdict(document: Row) -> Iterator[str]:
    winner, ties = document["winner"], document["ties"]
    yield ""
    interval = interval_text(winner["interval"])
    yield f"winner     {_point(winner)}: {percent(winner['mean'])} ({interval})"
    yield f"ties       {'; '.join(map(_point, ties)) or 'none'}"
    verdict = document.get("verdict") or {}
    if verdict.get("sentence"):
        yield f"verdict    {verdict['sentence']}"
    if verdict.get("fastest_tie"):
        yield f"fastest    {verdict['fastest_tie']}"


def _point(row: Row) -> str:
    alpha, beta, gamma = (coefficient(row[axis]) for axis in ("alpha", "beta", "gamma"))
    return f"α {alpha}, β {beta}, γ {gamma}"
