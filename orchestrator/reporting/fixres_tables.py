"""A resolution adaptation as aligned plain text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.reporting.formats import counted, magnitude, percent
from orchestrator.reporting.tables import (
    Columns,
    Row,
    cell,
    interval_text,
    planned_lines,
    titled,
)


def _below(key: str, text: Callable[[Row], str]) -> Callable[[Row], str]:
    """What a nested row says; nothing where there is none."""
    return lambda row: "" if row.get(key) is None else text(row[key])


def _points(value: float) -> str:
    return f"{100 * value:+.2f}"


def _limits(bounds: Any) -> str:
    low, high = bounds
    return f"{100 * low:+.2f} to {100 * high:+.2f}"


def _speed(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _number(seeds: Any) -> str:
    return str(len(seeds))


def _ratio(value: float) -> str:
    return f"{value:.3f}"


def _share(part: float) -> str:
    return f"{100 * part:.0f} %"


def _hours(value: float) -> str:
    return f"{value:.3g}"


def _yes(value: bool) -> str:
    return "*" if value else ""


DIFFERENCE: Columns = {
    "points": _below("difference", cell("mean", _points)),
    "95 % interval of it": _below("difference", cell("interval", _limits)),
}
RESULTS: Columns = {
    "name": cell("name"),
    "train px": cell("train_resolution"),
    "test px": cell("test_resolution"),
    "adapted": cell("adapt"),
    "params": cell("params", magnitude),
    "seeds": _below("after", cell("seeds", _number)),
    "top-1 before": _below("before", cell("mean", percent)),
    "top-1 after": _below("after", cell("mean", percent)),
    "95 % interval": _below("after", cell("interval", interval_text)),
    **DIFFERENCE,
    "top-5 before": _below("before", cell("top5", percent)),
    "top-5 after": _below("after", cell("top5", percent)),
    "images/s before": cell("images_per_second_before", _speed),
    "images/s after": cell("images_per_second", _speed),
    "training h": cell("training_hours", _hours),
    "adapting h": cell("adapting_hours", _hours),
    "error": cell("error"),
}
SWEEP: Columns = {
    "name": cell("name"),
    "test px": cell("test_resolution"),
    "trained": cell("is_train", _yes),
    "seeds": cell("seeds", _number),
    "top-1": cell("mean", percent),
    "95 % interval": cell("interval", interval_text),
    **DIFFERENCE,
    "top-5": cell("top5", percent),
    "enlarged": cell("enlarged", _share),
    "images/s": cell("images_per_second", _speed),
}
TRIED: Columns = {
    "name": cell("name"),
    "adapted": cell("adapt"),
    "test px": cell("test_resolution"),
    "best": cell("best", _yes),
    "chosen": cell("chosen", _yes),
    "seeds": cell("seeds", _number),
    "top-1": cell("mean", percent),
    "95 % interval": cell("interval", interval_text),
    **DIFFERENCE,
}
LOWER: Columns = {
    "name": cell("lower_than"),
    "train px": cell("train_resolution"),
    "test px": cell("test_resolution"),
    "adapted": cell("adapt"),
    "top-1": cell("mean", percent),
    "at its own px": cell("base_mean", percent),
    **DIFFERENCE,
    "hours": cell("hours", _hours),
    "its own": cell("base_hours", _hours),
    "saved": cell("saved", _share),
    "trying": cell("search_hours", _hours),
}
PLANNED: Columns = {
    "name": cell("name"),
    "params": cell("params", magnitude),
    "train px": cell("train_resolution"),
    "seeds": cell("seeds", _number),
    "test px": cell("resolutions", lambda sides: ", ".join(map(str, sides))),
}
GEOMETRY: Columns = {
    "name": cell("name"),
    "test px": cell("resolution"),
    "trained": cell("is_train", _yes),
    "resized to": cell("short_side"),
    "closed form": cell("closed_form_ratio", _ratio),
    "your images": cell("sampled_ratio", _ratio),
    "pooled map": cell("pooled_side", lambda side: f"{side} x {side}"),
    "maps": cell("map_sides", lambda sides: "-".join(map(str, sides))),
    "enlarged": cell("enlarged", _share),
}


def fixres_lines(document: Row) -> Iterator[str]:
    """An adaptation: its geometry, its plan, or once it has ended its result."""
    yield from asked_lines(document)
    if "geometry" in document:
        yield from geometry_lines(document["geometry"])
    elif "results" not in document:
        yield from titled("networks", PLANNED, document["networks"])
        yield from planned_lines(document)
        return
    else:
        yield from _result_lines(document)
    for warning in document["warnings"]:
        yield f"warning    {warning}"


def _result_lines(document: Row) -> Iterator[str]:
    yield from titled("unadapted, top-1 on the selection split", SWEEP, document["sweep"])
    yield from titled("adapted, top-1 on the selection split", TRIED, document["tried"])
    yield from titled("chosen, on the reporting split", RESULTS, document["results"])
    yield from titled("trained lower and adapted", LOWER, document["lower"])
    yield ""
    own = [row for row in document["results"] if not row["lower_than"]]
    if len(own) > 1:
        yield from (f"           {row['sentence']}" for row in own)
    yield f"verdict    {document['verdict']['sentence']}"


def asked_lines(document: Row) -> Iterator[str]:
    """What is adapted, how, and on what it is judged."""
    evidence, source = document["evidence"], document["source"]
    place = source["model"] or f"the family in {source['family']}"
    yield f"networks   {place}: {counted(len(document['networks']), 'network')}"
    yield f"adapted    {', '.join(document['adaptations'])}"
    yield (
        f"images     adapted with {counted(evidence['train_images'], 'image')}, chosen on "
        f"{evidence['selection_images']:,} of the selection split, judged on "
        f"{evidence['reporting_images']:,} of the reporting split"
    )


def fixres_next_lines(run_dir: Path | None, document: Row) -> Iterator[str]:
    """Where the models are and what to type next; nothing after a plan."""
    if run_dir is None:
        return
    near = run_dir.relative_to(Path.cwd()) if run_dir.is_relative_to(Path.cwd()) else run_dir
    yield ""
    for model in document["models"]:
        yield f"model      {near / model['path']}"
    yield f"report     {near / 'report.md'}"
    yield f"browse     orchestrator ui --run-dir {near}"
    yield f"go on      the same command with --run-dir {near}; what is done is not done again"


def geometry_lines(geometry: list[Mapping[str, Any]]) -> Iterator[str]:
    """How large objects look in testing, as a part of how large they looked in training."""
    for one in geometry:
        yield ""
        yield (
            f"{one['name']}: trained at {one['train_resolution']} px, tested on a centre crop of "
            f"{one['train_resolution']} of {one['short_side']} px"
        )
        yield f"           {ratio_text(one)}"
        yield f"           {equal_text(one)}"
        rows = [{"name": "", **row} for row in one["resolutions"]]
        yield from titled("", GEOMETRY, rows)


def ratio_text(one: Row) -> str:
    """The ratio of sizes at the train resolution, in both ways."""
    return (
        f"objects in testing look {one['closed_form_ratio']:.3f} times as large as in training "
        f"by the closed form, {one['sampled_ratio']:.3f} on your images"
    )


def equal_text(one: Row) -> str:
    """Where sizes would be equal, in both ways."""
    return (
        f"equally large at {one['equalising_resolution']:.0f} px by the closed form, at "
        f"{one['sampled_equalising_resolution']:.0f} px on your images (total stride "
        f"{one['total_stride']})"
    )
