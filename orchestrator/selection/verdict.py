"""Which candidate won, which others may be as good, and what it would take to tell them apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy import special

from orchestrator.selection.agreement import UNKNOWN, Agreement
from orchestrator.selection.intervals import (
    CONFIDENCE,
    ONE_SEED,
    CombinedError,
    Runs,
    check_runs,
    mean_of,
    paired_noise,
    sampling_variance,
)
from trainer.config import Strict

POWER = 0.8
PAIRED = "seeds: pooled paired t; images: normal; variances added"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference(Strict):
    """The first candidate's accuracy less the second's, over the seeds that both were run with."""

    first: str
    second: str
    mean: float
    interval: tuple[float, float]
    """95 % limits of this one comparison."""
    p_value: float
    """Two-sided, of this one comparison; 1 where the seed noise is unknown."""
    num_seeds: int
    seed_variance: float
    """Of a single pair's difference; shrinks with the number of seeds."""
    sampling_variance: float
    """From the finite split; no number of seeds makes it smaller."""
    method: str


def paired_difference(
    runs: Mapping[str, Runs],
    first: str,
    second: str,
    *,
    num_images: int,
    agreement: Agreement = UNKNOWN,
) -> Difference:
    """Compare two of the candidates; all of them say how large the seed noise is.

    The share of images on which only one of two is right is unknown from accuracies alone, so by
    default their sampling errors are added as if independent, which is cautious: networks fail
    on the same images. A measured `agreement` lets the shared part cancel.

    Raises: ValueError if the two share no seed.
    """
    check_runs(runs)
    shared = sorted(set(runs[first]) & set(runs[second]))
    if not shared:
        raise ValueError(f"{first} and {second} were run with no seed in common")
    noise = paired_noise(runs)
    known = agreement if noise.df else replace(agreement, within=1.0)  # as in `summarise`
    first_mean, second_mean = (mean_of([runs[key][s] for s in shared]) for key in (first, second))
    gap = first_mean - second_mean
    error = CombinedError(
        seeds=2 * noise.variance / len(shared),
        df=noise.df,
        sampling=_sampling_of_difference(first_mean, second_mean, num_images, known),
    )
    reach = error.quantile * error.size
    return Difference(
        first=first,
        second=second,
        mean=gap,
        interval=(max(gap - reach, -1.0), min(gap + reach, 1.0)),
        p_value=_p_value(gap, error),
        num_seeds=len(shared),
        seed_variance=2 * noise.variance,
        sampling_variance=error.sampling,
        method=PAIRED if noise.df else ONE_SEED,
    )


def _sampling_of_difference(a: float, b: float, num_images: int, agreement: Agreement) -> float:
    first, second = sampling_variance(a, num_images), sampling_variance(b, num_images)
    cancels = 2 * agreement.between * math.sqrt(first * second)
    return max(agreement.within * (first + second) - cancels, 0.0)


def _p_value(gap: float, error: CombinedError) -> float:
    if error.df == 0:
        return 1.0  # the seed noise could be anything
    if error.size == 0:
        return float(gap == 0)
    return float(2 * special.stdtr(error.degrees, -abs(gap) / error.size))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down adjusted p-values, in the order given (Holm 1979, Scand. J. Statist. 6:65).

    Rejecting those below 5 % rejects any true hypothesis with a probability of at most 5 %.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def seeds_to_separate(difference: Difference, *, comparisons: int = 1) -> int | None:
    """Seeds each that would tell the two apart with 80 % power, were the measured difference true.

    None if no number would: the two are equal, or the split is too small for so small a difference.
    The normal formula with the correction z²/2 for t (Guenther 1981, Am. Statist. 35:243). Among
    several comparisons it is to be told at Bonferroni's level, which Holm's is never below.
    """
    z = float(special.ndtri(1 - (1 - CONFIDENCE) / (2 * comparisons)))
    tolerable = (difference.mean / (z + float(special.ndtri(POWER)))) ** 2
    left_for_seeds = tolerable - difference.sampling_variance
    if left_for_seeds <= 0 or difference.method == ONE_SEED:
        return None
    return max(2, math.ceil(difference.seed_variance / left_for_seeds + z * z / 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(Strict):
    """The best mean, and how much that says."""

    winner: str
    ties: tuple[str, ...]
    """The others that may well be as good, best first."""
    separated: bool
    """Whether there are no ties."""
    differences: tuple[Difference, ...]
    """The winner less each of the others, best first."""
    adjusted: tuple[float, ...]
    """Their p-values after Holm's correction; a tie is one above 5 %."""
    seeds_to_separate: int | None
    """To tell the winner from the best tie (the runner-up if none); None: seeds would not do."""
    sentence: str


def winner_and_ties(
    runs: Mapping[str, Runs], *, num_images: int, agreement: Agreement = UNKNOWN
) -> Verdict:
    """The candidate with the best mean (by key where equal) and those it cannot be told from.

    Since the winner is compared with every other candidate, the p-values are corrected by Holm's
    method: the truly best candidate is then missing from winner and ties in at most 5 % of studies.
    Fresh seeds do not undo picking the best of the finalists: the winner's own mean stays too high
    by a quarter to a half of its standard error (simulated: 4 of 20 candidates, seed sd 0.5 to 3
    points).

    Raises: ValueError as `summarise` and `paired_difference`.
    """
    check_runs(runs)
    winner, *others = sorted(runs, key=lambda key: (-mean_of(runs[key].values()), key))
    differences = tuple(
        paired_difference(runs, winner, other, num_images=num_images, agreement=agreement)
        for other in others
    )
    adjusted = holm([difference.p_value for difference in differences])
    ties = tuple(k for k, p in zip(others, adjusted, strict=True) if p >= 1 - CONFIDENCE)
    if not differences:
        return _alone(winner)
    nearest = next((d for d in differences if d.second in ties[:1]), differences[0])
    return Verdict(
        winner=winner,
        ties=ties,
        separated=not ties,
        differences=differences,
        adjusted=adjusted,
        seeds_to_separate=seeds_to_separate(nearest),
        sentence=_sentence(nearest, ties, num_images),
    )


def _alone(winner: str) -> Verdict:
    return Verdict(
        winner=winner,
        ties=(),
        separated=True,
        differences=(),
        adjusted=(),
        seeds_to_separate=None,
        sentence=f"{winner} is the only candidate.",
    )


def _sentence(nearest: Difference, ties: Sequence[str], num_images: int) -> str:
    low, high = (f"{100 * limit:+.1f}" for limit in nearest.interval)
    gap = f"{100 * nearest.mean:+.1f} points (95 % interval {low} to {high}) over {nearest.second}"
    if not ties:
        return f"{nearest.first} is the best: {gap}."
    corrected = (
        ", not enough among several comparisons (Holm)" if nearest.p_value < 1 - CONFIDENCE else ""
    )
    names, more = ", ".join(ties), way_out(nearest, num_images)
    return f"Cannot tell {nearest.first} from {names}: {gap}{corrected}; {more}."


def way_out(nearest: Difference, num_images: int, *, comparisons: int = 1) -> str:
    """What it would take to tell the two apart, among so many comparisons."""
    if nearest.method == ONE_SEED:
        return "with one seed the noise between seeds is unknown"
    needed = seeds_to_separate(nearest, comparisons=comparisons)
    if needed is None:
        return f"more seeds would not help: {num_images} images are too few for so small a gap"
    return f"about {needed} seeds each would separate the two if that is the true difference"


def fastest_tie(verdict: Verdict, step_seconds: Mapping[str, float]) -> str | None:
    """The winner or the tie with the lowest measured step time; None where none was measured."""
    measured = [key for key in (verdict.winner, *verdict.ties) if key in step_seconds]
    return min(measured, key=lambda key: (step_seconds[key], key), default=None)
