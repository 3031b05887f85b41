"""What one name stands for in one run and not in the other, in words."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from orchestrator.comparison.sides import Row

_COUNTS = ("params", "macs")
NETWORK = ("epochs", "resolution", "train_resolution", "test_resolution", "adapt", *_COUNTS)
_NOT_TRAINING = frozenset({"dataset", "seed"})
"""Of a configuration: where the same images lie, and what runs are paired by."""
_HANDFUL = 5
_LONGEST_TEXT = 40


def changed(ours: Row, theirs: Row, recipes: Sequence[Row | None]) -> list[str]:
    """What the same name stands for in B and not in A, beside the seeds."""
    fields = (*NETWORK, "micro_batches")
    one, other = ({name: row.get(name) for name in fields} for row in (ours, theirs))
    network = dict(apart(one, other))
    told = {} if None in recipes else dict(apart(*recipes, without=_NOT_TRAINING))
    told = {path: said for path, said in told.items() if path.split(".")[-1] not in network}
    if told.keys() & {"batch_size", "accumulate"}:
        network.pop("micro_batches", None)
    counts = [network.pop(name) for name in _COUNTS if name in network]  # follow from the others
    return [*_tricks(ours, theirs), *network.values(), *told.values(), *counts]


def apart(
    ours: Any, theirs: Any, *, without: Collection[str] = (), unsaid: str = "none", path: str = ""
) -> Iterator[tuple[str, str]]:
    """Every dotted path at which B is told otherwise, and how to say it; a list is one value."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in (key for key in {**ours, **theirs} if key not in without):
            below = f"{path}.{key}" if path else str(key)
            pair = ours.get(key), theirs.get(key)
            yield from apart(*pair, without=without, unsaid=unsaid, path=below)
    elif ours != theirs:
        one, other = (_text(value, unsaid) for value in (ours, theirs))
        yield path, f"another {path}" if one == other else f"{path} {other} instead of {one}"


def handful(items: Iterable[str], separator: str = ", ") -> str:
    """The first few, and how many more there are."""
    listed = list(items)
    more = f" and {len(listed) - _HANDFUL} more" if len(listed) > _HANDFUL else ""
    return separator.join(listed[:_HANDFUL]) + more or "nothing"


def _tricks(ours: Row, theirs: Row) -> Iterator[str]:
    """Those of an ablation's rung that only one has: a ladder gathers what others try alone."""
    one, other = ours.get("tricks") or (), theirs.get("tricks") or ()
    added = [f"with {trick}" for trick in other if trick not in one]
    lacking = [f"without {trick}" for trick in one if trick not in other]
    if added or lacking:
        yield f"tricks {', '.join([*added, *lacking])}"


def _text(value: Any, unsaid: str) -> str:
    """A setting in few words."""
    match value:
        case None:
            return unsaid
        case int() if not isinstance(value, bool):
            return f"{value:,}"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
