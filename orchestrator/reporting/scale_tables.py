"""A family of networks as aligned plain text."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.reporting.formats import coefficient, counted, decimal, magnitude, percent, size
from orchestrator.reporting.tables import (
    FAMILY,
    NETWORK,
    Columns,
    Row,
    cell,
    interval_text,
    planned_lines,
    titled,
)


def _apart(distance: float) -> str:
    return f"{round(100 * distance, 1) + 0.0:+.1f} %"  # never -0.0


MEMBERS: Columns = {
    "name": FAMILY["name"],
    "φ": FAMILY["φ"],
    "depth": FAMILY["depth"],
    "width": FAMILY["width"],
    "px": FAMILY["px"],
    "params": FAMILY["params"],
    "MACs": FAMILY["MACs"],
    "acts": cell("activations", magnitude),
    "cost": NETWORK["cost"],
    "F^φ": FAMILY["F^φ"],
    "off": lambda row: "" if row["name"] == row["beside"] else cell("distance", _apart)(row),
    "dropout": cell("dropout", decimal),
    "memory ≈": cell("estimated_memory_bytes", size),
    "micro-batch": cell("micro_batch"),
    "images/s": cell(
        "images_per_second",
        lambda speed: f"{speed:.3g}" if speed < 100 else f"{speed:,.0f}",
    ),
    "step": cell("step_seconds", lambda seconds: f"{seconds:.3g} s"),
    "speed": cell("speed"),
}
RESULTS: Columns = {
    "name": MEMBERS["name"],
    "px": MEMBERS["px"],
    "params": MEMBERS["params"],
    "MACs": MEMBERS["MACs"],
    "cost": MEMBERS["cost"],
    "off": MEMBERS["off"],
    "epochs": cell("epochs"),
    "seeds": cell("seeds", lambda seeds: str(len(seeds))),
    "top-1": cell("mean", percent),
    "95 % interval": cell("interval", interval_text),
    "images/s": MEMBERS["images/s"],
    "error": cell("error"),
}
COMPARISONS: Columns = {
    "name": cell("first"),
    "less": cell("axis"),
    "off": cell("distance", _apart),
    "points": cell("mean", lambda value: f"{100 * value:+.2f}"),
    "95 % interval": cell(
        "interval", lambda bounds: f"{100 * bounds[0]:+.2f} to {100 * bounds[1]:+.2f}"
    ),
    "p": cell("p_value", lambda value: f"{value:.3f}"),
    "p (Holm)": cell("adjusted_p_value", lambda value: f"{value:.3f}"),
    "seeds": cell("num_seeds"),
}


def scale_lines(document: Row) -> Iterator[str]:
    """A family: the table as planned, or once it is trained the accuracies."""
    yield from asked_lines(document)
    if "results" not in document:
        yield from titled("sizes", MEMBERS, document["members"])
        yield from planned_lines(document)
        return
    yield from titled("trained, top-1 on the reporting split", RESULTS, document["results"])
    compared = document["comparisons"]
    given = document["table"] == "given"
    title = "less the same from nothing" if given else "compound less a single axis at its cost"
    yield from titled(title, COMPARISONS, compared)
    yield ""
    for row in compared if not given else ():  # one comparison is the verdict itself
        yield f"           {row['sentence']}"
    yield f"verdict    {document['verdict']['sentence']}"
    for warning in document["warnings"]:
        yield f"warning    {warning}"


def asked_lines(document: Row) -> Iterator[str]:
    """What is scaled, by what, and what it is trained and judged on."""
    start, evidence = document["baseline"], document["evidence"]
    yield f"table      {table_text(document)}"
    width = "" if start["width"] == 1 else f" at width {decimal(start['width'])}"
    yield (
        f"baseline   {start['name']}{width}, {start['resolution']} px: {start['params']:,} "
        f"parameters, {start['macs']:,} multiply-adds"
    )
    if weights := document.get("weights"):
        yield f"weights    {weights_text(weights)}"
    seeds = counted(len(document["seeds"]), "seed")
    yield (
        f"training   {counted(document['recipe']['epochs'], 'epoch')} on "
        f"{counted(evidence['train_images'], 'image')} with {seeds}, judged on "
        f"{evidence['num_images']:,} of the reporting split"
    )


def weights_text(weights: Row) -> str:
    """What training begins from, what is new and what is frozen."""
    frozen = weights["frozen_parts"]
    kept = f", its first {counted(frozen, 'part')} frozen" if frozen else ""
    return f"begun from {weights['from']} ({weights['network']}), {weights['head']} head{kept}"


def table_text(document: Row) -> str:
    """Which of the tables it is."""
    if document["table"] == "given":
        return f"one network as it is, from {document['weights']['from']}"
    if document["table"] == "published":
        return "published sizes, rounded by hand"
    alpha, beta, gamma = map(coefficient, document["coefficients"])
    found = f", found in {document['source']['run_dir']}" if document["source"] else ""
    return f"exact powers of α {alpha}, β {beta}, γ {gamma}{found}"
