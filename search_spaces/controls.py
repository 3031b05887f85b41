"""What a coefficient search is compared with."""

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from random import Random

from search_spaces.compound_scaling import Baseline, ScalingCoefficients, scale
from search_spaces.published import PUBLISHED_COEFFICIENTS
from search_spaces.screening import Candidate, candidate
from trainer.complexity import count

_STEPS_PER_UNIT = 1000


def published_triple(start: Baseline) -> Candidate:
    """The published (1.2, 1.1, 1.15) on this baseline, at its own cost rather than the budget's."""
    return candidate(start, [PUBLISHED_COEFFICIENTS])


def uniform_scaling(start: Baseline, target: Fraction) -> Candidate:
    """Depth, width and resolution times one factor, in thousandths, whose cost is nearest `target`.

    The lower of two equally near; within a network, the smallest factor that builds it.
    """
    wanted = target * count(start.config).macs

    def macs(thousandths: int) -> int:
        return count(scale(start, _uniform(thousandths))).macs

    # the cost never falls with the factor, and a factor of `target` is enough
    steps = range(_STEPS_PER_UNIT, int(target * _STEPS_PER_UNIT) + _STEPS_PER_UNIT)
    above = bisect_left(steps, ceil(wanted), key=macs)
    below = bisect_left(steps, macs(steps[max(above - 1, 0)]), key=macs)
    nearest = min(steps[below], steps[above], key=lambda step: (abs(macs(step) - wanted), step))
    return candidate(start, [_uniform(nearest)])


def _uniform(thousandths: int) -> ScalingCoefficients:
    factor = Fraction(thousandths, _STEPS_PER_UNIT)
    return ScalingCoefficients(factor, factor, factor)


def random_candidate(candidates: Sequence[Candidate], seed: int) -> Candidate:
    """One of the candidates, each with the same chance: what no training at all would find."""
    return Random(seed).choice(candidates)
