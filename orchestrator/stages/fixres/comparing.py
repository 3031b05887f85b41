"""Accuracies of one network compared in pairs over the same images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from orchestrator.selection.agreement import UNKNOWN, Agreement, measure_agreement
from orchestrator.selection.intervals import CONFIDENCE, ONE_SEED, mean_of
from orchestrator.selection.verdict import POWER, paired_difference
from orchestrator.trial import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What came of one way to show images to a network, by seed."""

    values: Mapping[int, float]
    """Top-1."""
    reports: Mapping[int, Report]


def tried(by_seed: Mapping[int, Report]) -> Tried:
    """The reports with their accuracies beside them."""
    return Tried(
        values={seed: float(report["top1"]) for seed, report in by_seed.items()}, reports=by_seed
    )


def mean_metric(found: Tried, name: str) -> float | None:
    """A metric's mean over the seeds; None where one lacks it."""
    values = [report.get(name) for report in found.reports.values()]
    if any(value is None for value in values):
        return None
    return mean_of([float(value) for value in values if value is not None])


def agreement_of(found: Sequence[Tried]) -> Agreement:
    """How far the answers agree, image by image; unknown where they were not recorded."""
    answers = {}
    for place, one in enumerate(found):
        rows = [_bits(report) for report in one.reports.values()]
        known = [row for row in rows if row is not None]
        if not known or len(known) < len(rows):
            return UNKNOWN
        answers[str(place)] = known
    if len({len(row) for rows in answers.values() for row in rows}) != 1:
        return UNKNOWN
    return measure_agreement({name: np.stack(rows) for name, rows in answers.items()})


def compared(
    found: Mapping[str, Tried], first: str, second: str, num_images: int
) -> dict[str, Any]:
    """The first less the second, over the seeds that both have, as plain JSON.

    All of `found` says how much seeds differ; how far the answers agree is of the two alone.
    """
    difference = paired_difference(
        {name: one.values for name, one in found.items()},
        first,
        second,
        num_images=num_images,
        agreement=agreement_of([found[first], found[second]]),
    )
    return difference.to_json()


def is_clear(difference: Mapping[str, Any]) -> bool:
    """Whether it is told apart from nothing; with one seed, for this one trained network."""
    return bool(difference.get("adjusted_p_value", p_value(difference)) < 1 - CONFIDENCE)


def p_value(difference: Mapping[str, Any]) -> float:
    """Two-sided, of this one comparison. Of one seed: whether this very network is better, to
    which the noise between trainings does not matter."""
    if difference["method"] != ONE_SEED:
        return float(difference["p_value"])
    error = math.sqrt(difference["sampling_variance"])
    if not error:
        return float(difference["mean"] == 0)
    return float(2 * special.ndtr(-abs(difference["mean"]) / error))


def images_to_tell(difference: Mapping[str, Any], num_images: int) -> int | None:
    """Images that would tell the two apart with 80 % power, were the measured difference true and
    the network the only one; None where there is no difference."""
    gap, variance = float(difference["mean"]), float(difference["sampling_variance"])
    if not gap:
        return None
    z = float(special.ndtri((1 + CONFIDENCE) / 2) + special.ndtri(POWER))
    return math.ceil(num_images * variance * (z / gap) ** 2)


def _bits(report: Report) -> NDArray[np.bool_] | None:
    if not report.get("correct"):
        return None
    packed = np.frombuffer(bytes.fromhex(report["correct"]), dtype=np.uint8)
    return np.unpackbits(packed)[: report["num_images"]].astype(np.bool_)
