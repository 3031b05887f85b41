"""Population-based augmentation's operations as integers, and back. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from search_spaces.augmentation import (
    NUM_MAGNITUDES,
    NUM_PROBABILITIES,
    UNPAIRED_OPS,
    Decisions,
    operation_at,
    require_places,
    tenths_of,
)
from trainer.augment.levels import policy_to_levels
from trainer.augment.policy import Operation, Policy, PopulationPolicy, SubPolicy
from trainer.config import require

POPULATION_OPS: Final = UNPAIRED_OPS * 2
"""The operations of a population-based policy: each twice, with probabilities of their own."""
POPULATION_TOPS: Final = (NUM_PROBABILITIES - 1, NUM_MAGNITUDES - 1) * len(POPULATION_OPS)
"""The highest value of each of the 60 integers; the lowest is 0, where a search starts."""


def population_operations(parameters: Sequence[int]) -> tuple[Operation, ...]:
    """The operations with their probabilities and magnitudes, in the order of `POPULATION_OPS`.

    Args:
        parameters: Probability in tenths and magnitude level for each in turn (Ho 2019,
            arXiv:1905.05393, §3). Levels mean what they do in AutoAugment's space; in the released
            code level 9 is nine tenths of a range, and posterize and solarize run backwards.

    Raises:
        ConfigError: they are not 60, or one lies beyond its highest value.
    """
    check_population(parameters)
    pairs = zip(parameters[::2], parameters[1::2], strict=True)
    return tuple(
        operation_at(op, tenths=tenths, level=level)
        for op, (tenths, level) in zip(POPULATION_OPS, pairs, strict=True)
    )


def population_policy(parameters: Sequence[int], *, name: str) -> PopulationPolicy:
    """The policy that the integers make; operations that never come up are left out.

    Raises:
        ConfigError: as `population_operations`.
    """
    used = tuple(op for op in population_operations(parameters) if op.probability > 0)
    nothing = (Operation(name="identity", probability=0),)
    return PopulationPolicy(name=name, operations=used or nothing)


def population_parameters(operations: Sequence[Operation]) -> Decisions:
    """The integers that make the operations; of several, those with the lowest levels.

    Raises:
        ConfigError: they are not those of `POPULATION_OPS`, or no level means a magnitude.
    """
    names = tuple(operation.name for operation in operations)
    require(
        names == POPULATION_OPS, "population: the operations are not the 15 of the space, twice"
    )
    single = Policy(name="population", sub_policies=(SubPolicy(operations=tuple(operations)),))
    ((*leveled,),) = policy_to_levels(single, mapping="autoaugment")
    return tuple(
        value
        for _, probability, level in leveled
        for value in (tenths_of(probability), int(level or 0))
    )


def check_population(parameters: Sequence[int]) -> None:
    """Raise `ConfigError` unless these are the 60 integers of a population-based policy."""
    require_places(parameters, [top + 1 for top in POPULATION_TOPS], what="parameter")
