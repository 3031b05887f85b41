"""Policies as plain text: a sub-policy or an operation a line, magnitudes in their units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, zip_longest
from typing import Any, Final

from orchestrator.reporting.formats import counted, decimal
from orchestrator.reporting.tables import Columns, Row, aligned
from trainer.augment.ops import OPS

PRESET: Columns = {
    "name": lambda row: str(row["name"]),
    "kind": lambda row: str(row["kind"]),
    "sub-policies": lambda row: str(row["sub_policies"] or ""),
    "operations": lambda row: str(row["operations"] or ""),
    "source": lambda row: str(row["source"]),
}

UNITS: Final[Mapping[str, str]] = {
    "slope": "slope {}",
    "fraction of the side": "{} of the side",
    "degrees": "{}°",
    "threshold": "threshold {}",
    "bits kept": "{} bits kept",
    "factor": "factor {}",
    "weight of the other image": "weight {} of the other image",
    "added below 128": "{} added below 128",
}
"""A magnitude's unit in `OPS` -> how a value is said."""


def preset_lines(rows: Sequence[Row]) -> list[str]:
    """The published policies, one a line."""
    return aligned(PRESET, rows)


def policy_lines(document: Row) -> Iterator[str]:
    """What a policy does, from the document of its JSON file."""
    yield f"policy     {document['name']}: {_drawn(document)}"
    if document["kind"] == "schedule":
        for span, segment in zip(segment_spans(document), document["segments"], strict=True):
            yield ""
            yield f"{span}: {_drawn(segment['policy'])}"
            yield from _body(segment["policy"])
        return
    if "fill" in document:
        yield f"fill       {_fill(document['fill'])}"
    yield ""
    yield from _body(document)


def segment_spans(document: Row) -> list[str]:
    """The epochs of each segment of a schedule, counted from 1."""
    lengths = [segment["epochs"] for segment in document["segments"]]
    return [
        f"epoch {end}" if length == 1 else f"epochs {end - length + 1} to {end}"
        for length, end in zip(lengths, accumulate(lengths), strict=True)
    ]


def operation_text(operation: Row) -> str:
    """An operation with its magnitude, such as `rotate 30° ±`.

    ± where the sign is drawn; about a neutral factor of 1 that is `factor 1 ± 0.9`.
    """
    meaning, value = OPS[operation["name"]].magnitude, operation["magnitude"]
    if meaning is None:
        return str(operation["name"])
    neutral = meaning.neutral if operation["mirrored"] else None
    number = f"{decimal(neutral)} ± {_number(value, neutral)}" if neutral else _number(value)
    text = f"{operation['name']} {UNITS[meaning.unit].format(number)}{_steps(value)}"
    return f"{text} ±" if neutral == 0 else text


def probability_text(operation: Row) -> str:
    """The chance that an operation is done where it is met, such as `p 0.6`."""
    return f"p {decimal(operation['probability'])}"


def color_texts(document: Row) -> tuple[str, str]:
    """The two parts of the colour pipeline."""
    factors = f"{decimal(document['low'])} to {decimal(document['high'])}"
    return (
        f"hue, saturation, brightness factor {factors}",
        f"noise {decimal(document['noise'])} along each colour axis",
    )


def _drawn(document: Row) -> str:
    """What an image gets."""
    match document["kind"]:
        case "sub-policies":
            number = len(document["sub_policies"])
            return f"each image gets {f'one of {number} sub-policies' if number > 1 else 'this'}"
        case "random":
            pool = counted(len(document["operations"]), "operation")
            again = ", drawn with replacement" if document["num_ops"] > 1 else ""
            return f"each image gets {document['num_ops']} of {pool}{again}"
        case "population":
            pool = counted(len(document["operations"]), "operation")
            chances = enumerate(map(decimal, document["counts"]))
            numbers = ", ".join(f"{number} (p {chance})" for number, chance in chances)
            return f"each image gets the first {numbers} that come up of {pool} in random order"
        case "schedule":
            return f"{counted(len(document['segments']), 'segment')}, one after another"
    return "each image gets its colours scaled, then noise"


def _body(document: Row) -> list[str]:
    if document["kind"] == "color":
        return list(color_texts(document))
    groups = (
        [row["operations"] for row in document["sub_policies"]]
        if document["kind"] == "sub-policies"
        else [[operation] for operation in document["operations"]]
    )
    return _columns(
        [
            [f"{number:3d}", *(text for op in group for text in _texts(op))]
            for number, group in enumerate(groups, start=1)
        ]
    )


def _texts(operation: Row) -> tuple[str, str]:
    return operation_text(operation), probability_text(operation)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows with their cells below each other; some rows are shorter."""
    widths = [max(map(len, cells)) for cells in zip_longest(*rows, fillvalue="")]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip()
        for row in rows
    ]


def _number(value: Any, neutral: float | None = None) -> str:
    """A magnitude or the ends of its range; how far from the neutral value, where there is one."""
    if isinstance(value, Mapping):
        low, high = (value[end] - (neutral or 0) for end in ("low", "high"))
        return f"{decimal(low)} to {decimal(high)}"
    return decimal(abs(value - neutral) if neutral else value)


def _steps(value: Any) -> str:
    """Into how many values a range is divided."""
    return f" in {value['bins']} steps" if isinstance(value, Mapping) and value["bins"] else ""


def _fill(fill: int | Sequence[int]) -> str:
    levels = [fill] if isinstance(fill, int) else fill
    names = ("grey",) if len(levels) == 1 else ("red", "green", "blue")
    return ", ".join(f"{name} {level}" for name, level in zip(names, levels, strict=True))
