"""Which images a trial was right on, out of its last report: what makes comparisons paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from orchestrator.history import Trial
from orchestrator.selection.agreement import UNKNOWN, Agreement, measure_agreement


def agreement_of(runs: Mapping[str, Sequence[Trial]]) -> Agreement:
    """How far the runs agree, from their recorded answers; unknown where any lacks them."""
    answers = {name: [answers_of(trial) for trial in trials] for name, trials in runs.items()}
    found = {
        name: np.stack([row for row in rows if row is not None])
        for name, rows in answers.items()
        if rows and all(row is not None for row in rows)
    }
    if len(found) < len(runs) or len({rows.shape[1] for rows in found.values()}) != 1:
        return UNKNOWN
    return measure_agreement(found)


def answers_of(trial: Trial) -> NDArray[np.bool_] | None:
    """One truth value for each evaluation image, in the split's order; None if not recorded."""
    last = trial.reports[-1] if trial.reports else {}
    if not last.get("correct"):
        return None
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(last["correct"]), dtype=np.uint8))
    return bits[: last["num_images"]].astype(np.bool_)
