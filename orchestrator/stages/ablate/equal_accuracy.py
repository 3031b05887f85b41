"""Who answers faster at equal accuracy: the rungs, or the networks of another run.

Assemble-ResNet's claim against EfficientNet is one of measured speed, not of multiply-adds (Lee
2020, arXiv:2001.06268, table 7).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.selection.verdict import Difference, paired_difference

Row = dict[str, Any]


def at_equal_accuracy(
    rungs: Sequence[Row], rivals: Sequence[Row], *, num_images: int
) -> Iterator[Row]:
    """Beside each network of another run the fastest rung whose mean is no lower, or the most
    accurate rung where all are lower; as far as speeds were measured.

    Which rung that is follows from the accuracies themselves, so that its gap is a little flattered
    by chance; the interval is that of the one difference.

    Args:
        rungs: Rows of the result.
        rivals: Rows of the other run's networks.
        num_images: In the reporting split.
    """
    timed = [row for row in rungs if row["mean"] is not None and row["images_per_second"]]
    runs = {f"rung {row['name']}": _by_seed(row) for row in timed}
    runs |= {f"rival {row['name']}": _by_seed(row) for row in rivals}
    for rival in rivals:
        if not timed or rival["images_per_second"] is None:
            continue
        as_good = [row for row in timed if row["mean"] >= rival["mean"]]
        if as_good:
            rung = max(as_good, key=lambda row: (row["images_per_second"], row["mean"]))
        else:
            rung = max(timed, key=lambda row: (row["mean"], row["images_per_second"]))
        pair = (f"rung {rung['name']}", f"rival {rival['name']}")
        if not set(runs[pair[0]]) & set(runs[pair[1]]):
            continue
        gap = paired_difference(runs, *pair, num_images=num_images)
        ratio = rung["images_per_second"] / rival["images_per_second"]
        yield {
            "rung": rung["name"],
            "rival": rival["name"],
            "points": gap.mean,
            "interval": list(gap.interval),
            "num_seeds": gap.num_seeds,
            "times_as_fast": ratio,
            "sentence": _sentence(rung["name"], rival["name"], gap, ratio) + _unlike(rung, rival),
        }


def _by_seed(row: Row) -> Mapping[int, float]:
    return dict(zip(row["seeds"], row["values"], strict=True))


def _unlike(rung: Row, rival: Row) -> str:
    """That the two compute in other precisions, which is a part of the difference in speed."""
    one, other = rung["precision"], rival["precision"]
    return "." if one == other else f", {one} against {other}."


def _sentence(rung: str, rival: str, gap: Difference, ratio: float) -> str:
    low, high = (f"{100 * limit:+.2f}" for limit in gap.interval)
    points = f"{100 * gap.mean:+.2f} points (95 % interval {low} to {high})"
    if gap.mean < 0:
        return (
            f"no rung is as accurate as {rival}: {rung} comes nearest, {points}, at {ratio:.2f} "
            "times its images per second"
        )
    if ratio < 1:
        return (
            f"no rung as accurate as {rival} is as fast: {rung} answers {ratio:.2f} times as fast "
            f"at {points}"
        )
    return f"{rung} answers {ratio:.2f} times as fast as {rival} at {points}"
