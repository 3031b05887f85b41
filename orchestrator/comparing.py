"""Two results of one stage side by side; paired differences where seeds and images are shared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import UsageError
from orchestrator.history import History, read_history
from orchestrator.reporting.ablate_tables import points
from orchestrator.reporting.formats import counted, magnitude, percent
from orchestrator.reporting.tables import Columns, cell, interval_text, titled
from orchestrator.run_dir import RunDir
from orchestrator.selection.agreement import UNKNOWN, Agreement
from orchestrator.selection.answers import agreement_of
from orchestrator.selection.intervals import CONFIDENCE
from orchestrator.selection.verdict import Difference, holm, paired_difference, way_out
from orchestrator.stages.finished import finished

COMPARABLE = ("search-scaling", "search-augment", "scale", "fixres", "ablate")
_ROWS = {"search-augment": "arms"}
"""Where a result has its rows, if not under `results`."""
_NETWORK = ("params", "macs", "epochs", "test_resolution", "resolution")
_PARTS = ("before", "after")
"""Of a row that says how accurate a network was and became."""
CORRECTION = "Holm (1979), over the networks that both have"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two runs."""

    run_dir: str
    command: str
    result: Mapping[str, Any]
    history: History

    @property
    def fingerprint(self) -> str | None:
        """Of the images that it was trained and judged on."""
        evidence = self.result.get("evidence") or {}
        asked = self.history.questions.get(self.command, {}).get("question", {})
        own = evidence.get("fingerprint") or evidence.get("verdict")
        found = own or asked.get("fingerprint")
        return None if found is None else str(found)

    @property
    def num_images(self) -> int:
        """That accuracies are measured on."""
        evidence = self.result.get("evidence") or {}
        return int(evidence.get("reporting_images") or evidence["num_images"])

    @property
    def rows(self) -> dict[str, dict[str, Any]]:
        """What was trained, by name; what came to no accuracy is left out."""
        listed = [*(self.result.get(_ROWS.get(self.command, "results")) or ())]
        for row in self.result.get("controls") or ():
            listed.append({**row, "name": f"control: {row['control']}"})
        found = (flat for row in listed for flat in _flat(row))
        return {row["name"]: row for row in found if row.get("mean") is not None}


def compare(run_a: str, run_b: str) -> dict[str, Any]:
    """The two side by side, as plain JSON; differences are B less A.

    Raises: UsageError, on one line, for what is no result, another stage or other images.
    """
    a, b = _side(run_a, "RUN_A"), _side(run_b, "RUN_B")
    if a.command != b.command:
        raise UsageError(
            f"compare: {run_a} is a run of {a.command}, {run_b} of {b.command}; "
            "name two of one command"
        )
    try:
        return _document(a, b)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"compare: {run_a} or {run_b} has a damaged result ({error}); "
            f"write it anew with: orchestrator {a.command} --run-dir DIR"
        ) from error


def compare_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The comparison as aligned plain text."""
    yield f"A          {document['a']['run_dir']}"
    yield f"B          {document['b']['run_dir']}"
    yield (
        f"compared   {document['stage']}, top-1 on the same "
        f"{counted(document['num_images'], 'image')}; B less A"
    )
    yield from titled("both have", _BOTH, document["both"])
    for side in ("a", "b"):
        yield from titled(f"only {side.upper()} has", _ALONE, document[f"only_{side}"])
    yield ""
    for row in document["both"]:
        yield f"           {row['sentence']}"
    yield f"verdict    {document['verdict']['sentence']}"


def _of(side: str, columns: Columns) -> Columns:
    """The columns of one of the two."""

    def moved(column: Any) -> Any:
        return lambda row: column(row[side])

    return {f"{name} {side.upper()}": moved(column) for name, column in columns.items()}


_SCORES: Columns = {
    "top-1": cell("mean", percent),
    "95 % interval": cell("interval", interval_text),
    "seeds": cell("seeds", lambda seeds: str(len(seeds))),
}
_COSTS: Columns = {"params": cell("params", magnitude), "epochs": cell("epochs")}
_ALONE: Columns = {"name": cell("name"), **_COSTS, **_SCORES}
_BOTH: Columns = {
    "name": cell("name"),
    **_of("a", _SCORES),
    **_of("b", _SCORES),
    "points": lambda row: points(row["difference"]["mean"]) if row["difference"] else "",
    "interval": lambda row: (
        " to ".join(map(points, row["difference"]["interval"])) if row["difference"] else ""
    ),
    "shared seeds": lambda row: str(row["difference"]["num_seeds"]) if row["difference"] else "",
    "p (Holm)": lambda row: (
        f"{row['difference']['adjusted_p_value']:.3f}" if row["difference"] else ""
    ),
    "verdict": cell("verdict"),
}


def _side(run_dir: str, option: str) -> Side:
    run = RunDir(Path(run_dir))
    description = _read(run.description)
    if description is None:
        raise UsageError(f"{option}: {run_dir} is no run directory (no run.json)")
    command = description.get("command")
    if command not in COMPARABLE:
        raise UsageError(
            f"{option}: {run_dir} belongs to '{command}'; comparable are {', '.join(COMPARABLE)}"
        )
    _, result = finished(run_dir, command, option=option)
    return Side(run_dir=run_dir, command=command, result=result, history=read_history(run.journal))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _flat(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A row, or for a network that was adapted one for before and one for after."""
    if not any(part in row for part in _PARTS):
        yield dict(row)
        return
    network = {name: value for name, value in row.items() if name not in _PARTS}
    for part in _PARTS:
        if row.get(part):
            yield {**network, **row[part], "name": f"{row['name']} {part}"}


def _document(a: Side, b: Side) -> dict[str, Any]:
    if a.fingerprint != b.fingerprint or a.num_images != b.num_images:
        raise UsageError(
            f"compare: {a.run_dir} and {b.run_dir} were trained or judged on other images; "
            "accuracies on different images say nothing about each other"
        )
    ours, theirs = a.rows, b.rows
    names = [name for name in ours if name in theirs]
    if not names:
        raise UsageError(
            f"compare: {a.run_dir} and {b.run_dir} have no trained network of one name"
        )
    both = list(_both(a, b, names))
    return {
        "stage": a.command,
        "a": {"run_dir": a.run_dir},
        "b": {"run_dir": b.run_dir},
        "num_images": a.num_images,
        "both": both,
        "only_a": [_shown(row) for name, row in ours.items() if name not in theirs],
        "only_b": [_shown(row) for name, row in theirs.items() if name not in ours],
        "verdict": {"sentence": _verdict(both), "correction": CORRECTION},
    }


def _both(a: Side, b: Side, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    ours, theirs = a.rows, b.rows
    values = {}
    for name in names:
        values[f"A {name}"] = _by_seed(ours[name])
        values[f"B {name}"] = _by_seed(theirs[name])
    agreement = _agreement(a, b, names)
    pairs = {
        name: paired_difference(
            values, f"B {name}", f"A {name}", num_images=a.num_images, agreement=agreement
        )
        for name in names
        if set(values[f"A {name}"]) & set(values[f"B {name}"])
    }
    adjusted = dict(zip(pairs, holm([pair.p_value for pair in pairs.values()]), strict=True))
    for name in names:
        keys = ours[name].get("keys")
        same = bool(keys) and keys == theirs[name].get("keys")
        yield {
            "name": name,
            "a": _shown(ours[name]),
            "b": _shown(theirs[name]),
            "changed": _changed(ours[name], theirs[name]),
            **_said(name, pairs.get(name), adjusted, a.num_images, same=same),
        }


def _by_seed(row: Mapping[str, Any]) -> dict[int, float]:
    return dict(zip(row["seeds"], row["values"], strict=True))


def _agreement(a: Side, b: Side, names: Sequence[str]) -> Agreement:
    """How far the runs are right on the same images, where the journals tell."""
    trials = {
        f"{side.run_dir} {number} {name}": [
            trial
            for key in side.rows[name].get("keys") or ()
            if (trial := side.history.get(key)) is not None and trial.reports
        ]
        for number, side in enumerate((a, b))
        for name in names
    }
    return agreement_of(trials) if all(trials.values()) else UNKNOWN


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("name", *_NETWORK, "mean", "interval", "seeds", "values", "verdict")
    return {name: row[name] for name in kept if name in row}


def _changed(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """What of the networks is not the same."""
    return [name for name in _NETWORK if ours.get(name) != theirs.get(name)]


def _said(
    name: str,
    pair: Difference | None,
    adjusted: Mapping[str, float],
    num_images: int,
    *,
    same: bool,
) -> dict[str, Any]:
    if same:
        return {
            "difference": None,
            "verdict": "the same",
            "sentence": f"{name}: the same trials in both.",
        }
    if pair is None:
        return {
            "difference": None,
            "verdict": None,
            "sentence": f"{name}: no seed in common, so nothing is paired.",
        }
    low, high = map(points, pair.interval)
    gap = f"{points(pair.mean)} points (95 % interval {low} to {high})"
    word, corrected = "cannot tell", adjusted[name]
    if corrected < 1 - CONFIDENCE:
        word = "B is better" if pair.mean > 0 else "B is worse"
    more = (
        f"; {way_out(pair, num_images, comparisons=len(adjusted))}" if word == "cannot tell" else ""
    )
    seeds = counted(pair.num_seeds, "shared seed")
    return {
        "difference": {**pair.to_json(), "adjusted_p_value": corrected},
        "verdict": word,
        "sentence": f"{name}: {word} with {seeds}: {gap}{more}.",
    }


def _verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    counts: dict[str, int] = {}
    for row in rows:
        word = row["verdict"] or "nothing paired"
        counts[word] = counts.get(word, 0) + 1
    said = ", ".join(f"{word} in {number}" for word, number in counts.items())
    return f"Of {counted(len(rows), 'network')} that both have: {said}."
