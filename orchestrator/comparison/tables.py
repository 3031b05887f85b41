"""A comparison as aligned plain text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from orchestrator.comparison.changes import handful
from orchestrator.reporting.ablate_tables import points
from orchestrator.reporting.formats import counted, magnitude, percent
from orchestrator.reporting.tables import Columns, cell, interval_text, titled


def compare_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The comparison as aligned plain text."""
    yield f"A          {document['a']['run_dir']}"
    yield f"B          {document['b']['run_dir']}"
    yield (
        f"compared   {document['stage']}, top-1 on the same "
        f"{counted(document['num_images'], 'image')}; B less A"
    )
    if document["asked"]:
        yield f"asked      in B: {handful(document['asked'], '; ')}"
    yield from titled("both have", _BOTH, document["both"])
    for side in ("a", "b"):
        yield from titled(f"only {side.upper()} has", ALONE, document[f"only_{side}"])
    yield ""
    for row in document["both"]:
        yield f"           {row['sentence']}"
    yield f"verdict    {document['verdict']['sentence']}"


def signed_points(value: float) -> str:
    """A difference of accuracies; what rounds to nothing has no sign of its own."""
    return points(round(value, 4) + 0.0)  # -0.0 + 0.0 is 0.0


def _of(side: str, columns: Columns) -> Columns:
    """The columns of one of the two."""

    def moved(column: Any) -> Any:
        return lambda row: column(row[side])

    return {f"{name} {side.upper()}": moved(column) for name, column in columns.items()}


def _of_either(columns: Columns) -> Columns:
    """What both have, said once; where they differ A's and B's."""

    def joined(column: Any) -> Any:
        return lambda row: " / ".join(dict.fromkeys((column(row["a"]), column(row["b"]))))

    return {name: joined(column) for name, column in columns.items()}


def _of_difference(form: Callable[[Any], str]) -> Callable[[Mapping[str, Any]], str]:
    return lambda row: form(row["difference"]) if row["difference"] else ""


_SCORES: Columns = {
    "top-1": cell("mean", percent),
    "95 % interval": cell("interval", interval_text),
    "seeds": cell("seeds", lambda seeds: str(len(seeds))),
}


_COSTS: Columns = {
    "params": cell("params", magnitude),
    "MACs": cell("macs", magnitude),
    "epochs": cell("epochs"),
}


ALONE: Columns = {"name": cell("name"), **_COSTS, **_SCORES}


_BOTH: Columns = {
    "name": cell("name"),
    **_of_either(_COSTS),
    "changed": lambda row: str(len(row["changed"])) if row["changed"] else "",
    **_of("a", _SCORES),
    **_of("b", _SCORES),
    "points": _of_difference(lambda pair: signed_points(pair["mean"])),
    "interval": _of_difference(lambda pair: " to ".join(map(signed_points, pair["interval"]))),
    "shared seeds": _of_difference(lambda pair: str(pair["num_seeds"])),
    "p (Holm)": _of_difference(lambda pair: f"{pair['adjusted_p_value']:.3f}"),
    "verdict": cell("verdict"),
}
