"""An ablation as aligned plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from orchestrator.reporting.formats import counted, duration, magnitude, percent
from orchestrator.reporting.tables import (
    Columns,
    Row,
    cell,
    interval_text,
    planned_lines,
    titled,
)


def _what(row: Row) -> str:
    said = " + ".join(row["compares"] or row["tricks"])
    instead = f" (instead of {', '.join(row['replaces'])})" if row["replaces"] else ""
    return said + instead


def _marked(value: str, row: Row) -> str:
    return f"{value}*" if row["beside"] else value


def points(value: float) -> str:
    """A difference of accuracies."""
    return f"{100 * value:+.2f}"


def _gain(row: Row) -> str:
    return "" if row.get("gain") is None else _marked(points(row["gain"]["mean"]), row)


def _gain_interval(row: Row) -> str:
    if row.get("gain") is None:
        return ""
    low, high = row["gain"]["interval"]
    return f"{points(low)} to {points(high)}"


def _corrected(row: Row) -> str:
    return "" if row.get("gain") is None else f"{row['gain']['adjusted_p_value']:.3f}"


def per_second(speed: float) -> str:
    """Images a second."""
    return f"{speed:.3g}" if speed < 100 else f"{speed:,.0f}"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


def _hours(hours: float) -> str:
    return duration(3600 * hours)


PLANNED: Columns = {
    "rung": cell("name"),
    "tricks": _what,
    "over": cell("over"),
    "params": cell("params", magnitude),
    "MACs": cell("macs", magnitude),
    "px": cell("resolution"),
    "test px": cell("test_resolution"),
    "epochs": cell("epochs"),
    "beside": lambda row: "; ".join(row["beside"]),
    "same as": cell("same_as"),
    "time ≈": cell("estimated_hours", _hours),
    "GPU hours ≈": cell("estimated_gpu_hours", lambda hours: f"{hours:.1f}"),
}
RESULTS: Columns = {
    "rung": PLANNED["rung"],
    "tricks": PLANNED["tricks"],
    "params": PLANNED["params"],
    "MACs": PLANNED["MACs"],
    "test px": PLANNED["test px"],
    "epochs": PLANNED["epochs"],
    "seeds": cell("seeds", lambda seeds: str(len(seeds))),
    "top-1": cell("mean", percent),
    "95 % interval": cell("interval", interval_text),
    "points": _gain,
    "interval": _gain_interval,
    "p (Holm)": _corrected,
    "verdict": cell("verdict"),
    "more seeds": cell("more_seeds", lambda number: f"about {number}"),
    "error": cell("error"),
}
SPEEDS: Columns = {
    "rung": cell("name"),
    "params": PLANNED["params"],
    "MACs": PLANNED["MACs"],
    "test px": PLANNED["test px"],
    "top-1": cell("mean", percent),
    "latency": cell("latency_seconds", _milliseconds),
    "its middle half": cell("latency_range", lambda both: " to ".join(map(_milliseconds, both))),
    "images/s": cell("images_per_second", per_second),
    "of passes": cell("images_per_second_range", lambda both: " to ".join(map(per_second, both))),
    "batch": cell("throughput_batch"),
    "precision": cell("precision"),
}


def ablate_lines(document: Row) -> Iterator[str]:
    """The ladder as planned, or once it is trained what each trick has bought."""
    yield from asked_lines(document)
    if "results" not in document:
        yield from titled("rungs", PLANNED, document["rungs"])
        yield from _marks(document["rungs"])
        yield from planned_lines(document)
        return
    yield from titled("trained, top-1 on the reporting split", RESULTS, document["results"])
    yield from _marks(document["results"])
    yield from titled(f"speed: {speed_text(document)}", SPEEDS, with_speed(document))
    yield from map("warning    {}".format, speed_warnings(document))
    for found in document["at_equal_accuracy"]:
        yield f"beside     {found['sentence']}"
    yield ""
    for row in document["results"]:
        if row["sentence"]:
            yield f"           {row['sentence']}"
    yield f"corrected  {document['verdict']['correction']}"
    yield f"verdict    {document['verdict']['sentence']}"
    for warning in document["warnings"]:
        yield f"warning    {warning}"


def asked_lines(document: Row) -> Iterator[str]:
    """What is tried on what, and what it is trained and judged on."""
    network, evidence = document["network"], document["evidence"]
    yield f"ladder     {ladder_text(document)}"
    yield (
        f"network    {network['name']}, {network['resolution']} px, "
        f"{network['classes']} classes: {network['params']:,} parameters, "
        f"{network['macs']:,} multiply-adds"
    )
    recipe = document["recipe"]
    yield (
        f"recipe     {recipe['epochs']} epochs in batches of {recipe['batch_size']}, learning rate "
        f"{recipe['lr']:g}, {recipe['schedule']}, to begin with"
    )
    if teacher := document["teacher"]:
        yield f"teacher    {teacher['from']} ({teacher['network']}, {teacher['resolution']} px)"
    yield (
        f"training   on {counted(evidence['train_images'], 'image')} with "
        f"{counted(len(document['seeds']), 'seed')}, judged on {evidence['num_images']:,} of the "
        "reporting split"
    )


def ladder_text(document: Row) -> str:
    """Which ladder it is, and how it is climbed."""
    how = {
        "cumulative": "each step on top of those before",
        "leave-one-out": "the whole stack, and all but one",
        "add-one": "each trick alone",
    }[document["design"]]
    which = f"{document['preset']} ({document['source']})" if document["preset"] else "own tricks"
    return f"{which}: {document['design']}, {how}"


def with_speed(document: Row) -> list[dict[str, Any]]:
    """Rungs, then the networks of another run, as far as their speed was measured."""
    rows = [*document["results"], *document["rivals"]]
    return [dict(row) for row in rows if row["images_per_second"] is not None]


def speed_text(document: Row) -> str:
    """Under which conditions it was measured."""
    found = document["speed"]
    if found is None:
        return "not measured"
    layout = "channels last" if found["channels_last"] else "channels first"
    batches = " and ".join(map(str, found["batches"]))
    return (
        f"{found['device']}, {' and '.join(found['precisions'])}, {layout}, "
        f"{counted(found['threads'], 'thread')}; latency of 1 image, throughput in batches of "
        f"{batches}; {found['how']}"
    )


def speed_warnings(document: Row) -> list[str]:
    """Why the speeds are not to be trusted."""
    found = document["speed"]
    if found is None or not found["busy"]:
        return []
    return [
        f"the machine was busy while speeds were measured: the process was given "
        f"{percent(found['cpu_share'])} of its time; once it is idle, measure anew with --set "
        "speed_again=1"
    ]


def _marks(rows: Sequence[Row]) -> Iterator[str]:
    """What came beside a trick, so that nobody credits it with the whole gain."""
    for row in rows:
        if row["beside"]:
            yield f"* {row['name']}: {' and '.join(row['beside'])}; not the trick's alone"
