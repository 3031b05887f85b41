"""Policies as points of the spaces that are searched, and back. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from random import Random
from typing import Final, TypeAlias, TypeVar

from trainer.augment.levels import MAPPINGS, operation_from_level, policy_to_levels
from trainer.augment.ops import PAPER_OPS
from trainer.augment.policy import Operation, Policy, RandomPolicy, SubPolicy
from trainer.augment.presets import RANDAUGMENT_TOP, randaugment
from trainer.config import require
from trainer.errors import ConfigError

Decisions: TypeAlias = tuple[int, ...]
"""Places in lists of choices, in the order in which they are taken."""
Point: TypeAlias = tuple[float, ...]
"""Coordinates of a space with continuous axes; a choice is its place in the list."""

OPS_PER_SUB_POLICY: Final = 2
NUM_PROBABILITIES: Final = 11
"""0, 0.1 … 1."""
NUM_MAGNITUDES: Final = 10
UNPAIRED_OPS: Final = tuple(op for op in PAPER_OPS if op != "sample-pairing")
"""What an image can be put through without another image."""

_N = TypeVar("_N", int, float)
_TOP: Final = NUM_MAGNITUDES - 1
_PAPER: Final = MAPPINGS["autoaugment"].scales
_PAPER_NAMES: Final = {scale.op: name for name, scale in _PAPER.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscreteSpace:
    """AutoAugment's space: operation, probability and magnitude from lists (arXiv:1805.09501, §3).

    A policy is decided operation by operation: type (a place in `PAPER_OPS`), probability (in
    tenths), magnitude (one of ten levels evenly over the paper's range). Different decisions may
    make the same policy: an operation without a magnitude ignores its level, and posterize has but
    five.
    """

    num_sub_policies: int = 5

    def __post_init__(self) -> None:
        _require_sub_policies(self.num_sub_policies)

    @property
    def choices(self) -> tuple[int, ...]:
        """How many choices each decision has: 16, 11, 10 for each of the operations in turn."""
        one = (len(PAPER_OPS), NUM_PROBABILITIES, NUM_MAGNITUDES)
        return one * (OPS_PER_SUB_POLICY * self.num_sub_policies)

    @property
    def size(self) -> int:
        """How many decisions can be taken, exactly; 1760^10 for five sub-policies."""
        return prod(self.choices)

    def sample(self, rng: Random) -> Decisions:
        """Decisions taken at random, all equally likely."""
        return tuple(rng.randrange(count) for count in self.choices)

    def check(self, decisions: Sequence[int]) -> None:
        """Raise `ConfigError` unless these are decisions of the space."""
        require_places(decisions, self.choices, what="decision")

    def policy(self, decisions: Sequence[int], *, name: str) -> Policy:
        """The policy in physical units that the decisions make.

        Raises:
            ConfigError: too few or too many decisions, or one beyond its choices.
        """
        self.check(decisions)
        operations = [
            operation_at(PAPER_OPS[op], tenths=tenths, level=level)
            for op, tenths, level in _threes(decisions)
        ]
        return _paired(operations, name=name)

    def decisions(self, policy: Policy) -> Decisions:
        """The decisions that make the policy; of several, those with the lowest levels.

        Raises:
            ConfigError: the space has no such policy; the message names what is in the way.
        """
        _require_shape(policy, self.num_sub_policies)
        return tuple(
            place
            for row in policy_to_levels(policy, mapping="autoaugment")
            for name, probability, level in row
            for place in (PAPER_OPS.index(_PAPER[name].op), tenths_of(probability), int(level or 0))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuousSpace:
    """Fast AutoAugment's space: probability and magnitude from a continuum (arXiv:1905.00397, §3).

    A point is, for each operation, its place in `UNPAIRED_OPS`, its probability and its strength,
    both in [0, 1]. A strength of 0 is the start of the paper's range and 1 its end.
    """

    num_sub_policies: int = 5

    def __post_init__(self) -> None:
        _require_sub_policies(self.num_sub_policies)

    @property
    def num_operations(self) -> int:
        """Operations in a policy; each has three coordinates."""
        return OPS_PER_SUB_POLICY * self.num_sub_policies

    def sample(self, rng: Random) -> Point:
        """A point at random, evenly over the space."""
        return tuple(
            coordinate
            for _ in range(self.num_operations)
            for coordinate in (
                float(rng.randrange(len(UNPAIRED_OPS))),
                rng.random(),
                rng.random(),
            )
        )

    def check(self, point: Sequence[float]) -> None:
        """Raise `ConfigError` unless this is a point of the space."""
        _require_length(point, 3 * self.num_operations, what="coordinate")
        for index, (op, probability, strength) in enumerate(_threes(point)):
            place = f"policy space: operation {index}"
            known = op in range(len(UNPAIRED_OPS))  # false for a fraction or NaN too
            require(known, f"{place}: type must be within 0 and {len(UNPAIRED_OPS) - 1}, got {op}")
            for name, value in (("probability", probability), ("strength", strength)):
                require(0 <= value <= 1, f"{place}: {name} must be within 0 and 1, got {value}")

    def policy(self, point: Sequence[float], *, name: str) -> Policy:
        """The policy in physical units at a point.

        Raises:
            ConfigError: the point does not lie in the space.
        """
        self.check(point)
        operations = [
            operation_from_level(
                (_PAPER_NAMES[UNPAIRED_OPS[int(op)]], probability, _TOP * strength),
                mapping="autoaugment",
            )
            for op, probability, strength in _threes(point)
        ]
        return _paired(operations, name=name)

    def point(self, policy: Policy) -> Point:
        """The point at which the policy lies, up to rounding; a strength that is ignored is 0.

        Raises:
            ConfigError: the policy lies nowhere in the space; the message names what is in the way.
        """
        _require_shape(policy, self.num_sub_policies)
        return tuple(
            coordinate
            for sub_policy in policy.sub_policies
            for operation in sub_policy.operations
            for coordinate in (
                float(_place(operation.name)),
                operation.probability,
                _strength(operation),
            )
        )


def concatenate(policies: Sequence[Policy], *, name: str) -> Policy:
    """All sub-policies of the policies in order: how AutoAugment makes 25 of its best five."""
    return Policy(
        name=name, sub_policies=tuple(sub for policy in policies for sub in policy.sub_policies)
    )


def union(policies: Sequence[Policy], *, name: str) -> Policy:
    """The sub-policies of the policies in order, of those with the same operations only the first.

    So does the released code of Fast AutoAugment: continuous probabilities and strengths are never
    equal, and two sub-policies that differ in nothing else are near repetitions.
    """
    first: dict[tuple[str, ...], SubPolicy] = {}
    for sub_policy in concatenate(policies, name=name).sub_policies:
        first.setdefault(tuple(op.name for op in sub_policy.operations), sub_policy)
    return Policy(name=name, sub_policies=tuple(first.values()))


def randaugment_grid(
    *,
    num_ops: Sequence[int] = (1, 2, 3),
    magnitudes: Sequence[float] = (3, 9, 15, 21, 27),
) -> tuple[tuple[int, float], ...]:
    """RandAugment's pairs (N, M): every number of operations with every level (arXiv:1909.13719).

    Raises:
        ConfigError: an axis is empty or has a value that RandAugment does not take.
    """
    require(bool(num_ops), "randaugment: num_ops: at least one value is needed")
    require(bool(magnitudes), "randaugment: magnitudes: at least one value is needed")
    grid = tuple(product(dict.fromkeys(num_ops), dict.fromkeys(magnitudes)))
    for count, magnitude in grid:
        randaugment(num_ops=count, magnitude=magnitude)
    return grid


def randaugment_parameters(policy: RandomPolicy) -> tuple[int, float]:
    """The (N, M) by which `randaugment` makes the policy, up to rounding of M.

    Raises:
        ConfigError: it is no RandAugment policy.
    """
    turn = next((op.magnitude for op in policy.operations if op.name == "rotate"), None)
    if isinstance(turn, float) and 0 <= turn <= RANDAUGMENT_TOP:  # the top level is 30 degrees
        made = randaugment(num_ops=policy.num_ops, magnitude=turn)
        if made.operations == policy.operations:
            return policy.num_ops, turn
    raise ConfigError(f"policy '{policy.name}': no number of operations and level make it")


def operation_at(op: str, *, tenths: int, level: int) -> Operation:
    """The operation with this probability in tenths and one of ten levels of the paper's range."""
    return operation_from_level((_PAPER_NAMES[op], tenths / 10, level), mapping="autoaugment")


def _paired(operations: Sequence[Operation], *, name: str) -> Policy:
    pairs = zip(operations[::2], operations[1::2], strict=True)
    return Policy(name=name, sub_policies=tuple(SubPolicy(operations=pair) for pair in pairs))


def _threes(values: Sequence[_N]) -> Iterator[tuple[_N, _N, _N]]:
    yield from zip(values[::3], values[1::3], values[2::3], strict=True)


def _place(op: str) -> int:
    require(
        op in UNPAIRED_OPS, f"policy space: no operation {op}; it has {', '.join(UNPAIRED_OPS)}"
    )
    return UNPAIRED_OPS.index(op)


def _strength(operation: Operation) -> float:
    """Where the magnitude lies in the paper's range, from 0 to 1; 0 where there is none."""
    magnitude = _PAPER[_PAPER_NAMES[operation.name]].magnitude
    if magnitude is None:
        return 0.0
    low, high = magnitude(0), magnitude(_TOP)
    value = operation.magnitude
    usual = operation.mirrored == Operation(name=operation.name, magnitude=low).mirrored
    if not isinstance(value, float) or not low <= value <= high or not usual:
        raise ConfigError(
            f"policy space: {operation.name}: no strength means {value}"
            + ("" if usual else f" with mirrored={operation.mirrored}")
        )
    return (value - low) / (high - low)


def tenths_of(probability: float) -> int:
    """How many tenths a probability is; raises `ConfigError` unless they are whole."""
    tenths = round(probability * 10)
    require(
        tenths / 10 == probability,
        f"policy space: probabilities are whole tenths, got {probability}",
    )
    return tenths


def _require_sub_policies(number: int) -> None:
    require(number >= 1, f"policy space: num_sub_policies must be at least 1, got {number}")


def _require_shape(policy: Policy, num_sub_policies: int) -> None:
    counts = [len(sub_policy.operations) for sub_policy in policy.sub_policies]
    require(
        counts == [OPS_PER_SUB_POLICY] * num_sub_policies,
        f"policy '{policy.name}': the space has {num_sub_policies} sub-policies of "
        f"{OPS_PER_SUB_POLICY} operations, got {len(counts)} of {sorted(set(counts))}",
    )


def _require_length(values: Sequence[float], length: int, *, what: str) -> None:
    require(
        len(values) == length, f"policy space: {length} {what}s make a policy, got {len(values)}"
    )


def require_places(values: Sequence[int], choices: Sequence[int], *, what: str) -> None:
    """Raise `ConfigError` unless each value is a place among its number of choices."""
    _require_length(values, len(choices), what=what)
    for index, (value, count) in enumerate(zip(values, choices, strict=True)):
        require(
            value in range(count),
            f"policy space: {what} {index} must be within 0 and {count - 1}, got {value}",
        )
