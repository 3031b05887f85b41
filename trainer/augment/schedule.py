"""Which operations of a batch can be done together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from trainer.augment.draws import OP_INDEX, Draws, Step
from trainer.augment.ops import OPS
from trainer.augment.tables import FIXED_TABLES

_NAMES: Final = tuple(OPS)
_FAMILIES: Final = tuple(dict.fromkeys(op.family for op in OPS.values()))
_FAMILY: Final = torch.tensor([_FAMILIES.index(op.family) for op in OPS.values()])
_IDENTITY: Final = OP_INDEX["identity"]
_IS_TABLE: Final = torch.tensor([op.family == "table" for op in OPS.values()])
_IS_FIXED: Final = torch.tensor([name in FIXED_TABLES and name != "identity" for name in OPS])


def schedule(draws: Draws) -> Iterator[tuple[Step, tuple[Step, ...]]]:
    """Yield each step without what an earlier table takes along, and the later tables it takes
    along.

    A fixed table that follows another table on the same image needs no look-up of its own: the two
    are composed. In the steps it is replaced by the identity; the leading table's step comes with
    what is left of the later ones.
    """
    steps = tuple(draws.steps())
    taken, idle = _taken_along(draws.op), draws.op == _IDENTITY
    for index, step in enumerate(steps):
        leads = ~taken[index]
        linked = leads
        followers = []
        for later in range(index + 1, len(steps)):
            linked = linked & (taken[later] | idle[later])
            followers.append(steps[later].only(linked & taken[later]))
        yield step.only(leads), tuple(followers)


def _taken_along(op: Tensor) -> Tensor:
    """(L, B) bool: fixed tables that come right after another table, idle steps not counted."""
    taken = torch.zeros_like(op, dtype=torch.bool)
    after_table = torch.zeros(op.shape[1], dtype=torch.bool)
    for index, step in enumerate(op):
        taken[index] = _IS_FIXED[step] & after_table
        after_table = _IS_TABLE[step] | (after_table & (step == _IDENTITY))
    return taken


def order_of(step: Step) -> Tensor:
    """(B,) places that sort the images by family, and by operation within it."""
    return torch.argsort(_FAMILY[step.op] * len(OPS) + step.op, stable=True)


def families(step: Step) -> Iterator[tuple[str, slice]]:
    """Yield each family present in a step sorted by `order_of`, and where its images are."""
    return _runs(_FAMILY[step.op], _FAMILIES)


def operations(step: Step) -> Iterator[tuple[str, slice]]:
    """Yield each operation present in a step sorted by `order_of`, and where its images are."""
    return _runs(step.op, _NAMES)


def _runs(values: Tensor, names: tuple[str, ...]) -> Iterator[tuple[str, slice]]:
    start = 0
    found, counts = torch.unique_consecutive(values, return_counts=True)
    for value, count in zip(found.tolist(), counts.tolist(), strict=True):
        yield names[value], slice(start, start + count)
        start += count
