"""Augmentation policies as frozen values in physical units. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import isfinite
from typing import Any, ClassVar, Literal, TypeAlias

from trainer.augment.ops import OPS, Magnitude
from trainer.errors import ConfigError, unknown_value

Fill: TypeAlias = int | tuple[int, int, int]
"""What shows where a geometric operation or a cutout leaves no image: one grey level, or red,
green, blue."""

GREY: Fill = 128


class _Value:
    """A value whose loader refuses unknown keys."""

    __slots__ = ()
    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _require_fill(fill: Fill) -> None:
    levels = fill if isinstance(fill, tuple) else (fill,)
    _require(
        len(levels) in (1, 3) and all(isinstance(v, int) and 0 <= v <= 255 for v in levels),
        f"policy.fill: {fill} is no colour; give a level or three within 0 and 255",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform(_Value):
    """A magnitude drawn anew for every image, evenly from `low` to `high`."""

    low: float
    high: float
    bins: int | None = None
    """Draw one of this many evenly spaced values, both ends included; None draws from the
    continuum."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))
        _require(
            self.low < self.high,
            f"policy: a uniform magnitude needs low < high, got {self.low} and {self.high}",
        )
        _require(
            self.bins is None or self.bins >= 2,
            f"policy: a uniform magnitude needs at least 2 bins, got {self.bins}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(_Value):
    """An operation as a policy uses it.

    Raises:
        ConfigError: the name is unknown, the probability no probability, or the magnitude missing,
            superfluous or beyond the limits in `OPS`.
    """

    name: str
    """A key of `trainer.augment.ops.OPS`."""
    probability: float = 1.0
    """Each operation has a coin of its own."""
    magnitude: float | Uniform | None = None
    """In the operation's unit (degrees, fraction of the side, bits kept, factor, threshold …)."""
    mirrored: bool | None = None
    """Whether half of the images get the magnitude reflected about the neutral value (-30° for 30°,
    a factor of 0.1 for 1.9). None becomes the paper's answer: yes for geometric operations, no for
    factors."""

    def __post_init__(self) -> None:
        if self.name not in OPS:
            raise unknown_value("policy: operation", self.name, OPS)
        object.__setattr__(self, "probability", float(self.probability))
        _require(
            0 <= self.probability <= 1,  # false for NaN too
            f"policy: {self.name}: probability must be within 0 and 1, got {self.probability}",
        )
        meaning = OPS[self.name].magnitude
        if self.mirrored is None:
            object.__setattr__(self, "mirrored", meaning is not None and meaning.mirrored)
        if isinstance(self.magnitude, int | float):
            object.__setattr__(self, "magnitude", float(self.magnitude))
        self._check_magnitude(meaning)

    def _check_magnitude(self, meaning: Magnitude | None) -> None:
        if meaning is None:
            _require(self.magnitude is None, f"policy: {self.name} takes no magnitude")
            _require(not self.mirrored, f"policy: {self.name} has no sign to mirror")
            return
        limits = f"{self.name}: magnitude ({meaning.unit})"
        if self.magnitude is None:
            raise ConfigError(f"policy: {limits} is missing")
        ends = self.ends
        inside = all(meaning.minimum <= end <= meaning.maximum for end in ends)
        _require(
            inside and all(map(isfinite, ends)),
            f"policy: {limits} must be within {meaning.minimum:g} and {meaning.maximum:g}, "
            f"got {' to '.join(f'{end:g}' for end in ends)}",
        )
        whole = not meaning.whole or isinstance(self.magnitude, Uniform) or ends[0].is_integer()
        _require(whole, f"policy: {limits} must be a whole number, got {ends[0]:g}")
        _require(
            not self.mirrored or meaning.neutral is not None,
            f"policy: {self.name} has no sign to mirror",
        )

    @property
    def ends(self) -> tuple[float, ...]:
        """The smallest and the largest magnitude, the one there is, or none."""
        if isinstance(self.magnitude, Uniform):
            return (self.magnitude.low, self.magnitude.high)
        return () if self.magnitude is None else (self.magnitude,)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubPolicy(_Value):
    """Operations that follow each other on one image."""

    operations: tuple[Operation, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "operations", tuple(self.operations))
        _require(bool(self.operations), "policy: a sub-policy needs at least one operation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy(_Value):
    """Every image draws one sub-policy, all equally likely (Cubuk 2019, arXiv:1805.09501, §3)."""

    kind: Literal["sub-policies"] = "sub-policies"
    name: str
    sub_policies: tuple[SubPolicy, ...]
    fill: Fill = GREY

    def __post_init__(self) -> None:
        object.__setattr__(self, "sub_policies", tuple(self.sub_policies))
        _require(
            bool(self.sub_policies), f"policy '{self.name}': at least one sub-policy is needed"
        )
        _require_fill(self.fill)

    @property
    def all_operations(self) -> tuple[Operation, ...]:
        """The operations of all sub-policies, in order."""
        return tuple(op for sub_policy in self.sub_policies for op in sub_policy.operations)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomPolicy(_Value):
    """Every image draws `num_ops` operations, all equally likely, with replacement.

    With fixed magnitudes this is RandAugment (Cubuk 2020, arXiv:1909.13719), with uniform ones and
    a single draw TrivialAugment (Müller & Hutter 2021, arXiv:2103.10158).
    """

    kind: Literal["random"] = "random"
    name: str
    operations: tuple[Operation, ...]
    num_ops: int = 1
    fill: Fill = GREY

    def __post_init__(self) -> None:
        object.__setattr__(self, "operations", tuple(self.operations))
        _require(bool(self.operations), f"policy '{self.name}': at least one operation is needed")
        _require(
            self.num_ops >= 1,
            f"policy '{self.name}': num_ops must be at least 1, got {self.num_ops}",
        )
        _require_fill(self.fill)

    @property
    def all_operations(self) -> tuple[Operation, ...]:
        """What is drawn from, in order."""
        return self.operations


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorPipeline(_Value):
    """Hue, saturation and brightness scaled, then noise along the colours' principal axes.

    He 2018, arXiv:1812.01187, §2.1 for the order and the numbers; the noise is that of Krizhevsky
    2012 with ImageNet's axes.
    """

    kind: Literal["color"] = "color"
    name: str
    low: float = 0.6
    high: float = 1.4
    """Each of the three factors is drawn evenly from `low` to `high`."""
    noise: float = 0.1
    """Standard deviation of the weight of each principal axis."""

    def __post_init__(self) -> None:
        for field in ("low", "high", "noise"):
            object.__setattr__(self, field, float(getattr(self, field)))
        _require(
            0 <= self.low <= self.high,
            f"policy '{self.name}': factors need 0 <= low <= high, got {self.low} and {self.high}",
        )
        _require(
            self.noise >= 0, f"policy '{self.name}': noise must not be negative, got {self.noise}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PopulationPolicy(_Value):
    """Every image draws how many operations it gets, then meets all of them in random order.

    Each has a coin of its own, and the first so many that come up are applied (Ho 2019,
    arXiv:1905.05393, §3.1, algorithm 1).
    """

    kind: Literal["population"] = "population"
    name: str
    operations: tuple[Operation, ...]
    counts: tuple[float, ...] = (0.2, 0.3, 0.5)
    """Chances of at most 0, 1, 2 … operations."""
    fill: Fill = GREY

    def __post_init__(self) -> None:
        object.__setattr__(self, "operations", tuple(self.operations))
        object.__setattr__(self, "counts", tuple(float(chance) for chance in self.counts))
        _require(bool(self.operations), f"policy '{self.name}': at least one operation is needed")
        _require(
            len(self.counts) >= 2
            and all(chance >= 0 for chance in self.counts)
            and abs(sum(self.counts) - 1) < 1e-6,
            f"policy '{self.name}': counts must be two or more chances that add up to 1, got "
            f"{', '.join(f'{chance:g}' for chance in self.counts)}",
        )
        _require_fill(self.fill)

    @property
    def all_operations(self) -> tuple[Operation, ...]:
        """What is drawn from, in order."""
        return self.operations


AnyPolicy: TypeAlias = Policy | RandomPolicy | PopulationPolicy | ColorPipeline
"""What `trainer.augment.apply.apply` can do to a batch; told apart by `kind`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment(_Value):
    """A part of a schedule."""

    epochs: int
    policy: AnyPolicy

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, f"policy: a segment has at least 1 epoch, got {self.epochs}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySchedule(_Value):
    """One policy after another while a model trains (Ho 2019, arXiv:1905.05393)."""

    kind: Literal["schedule"] = "schedule"
    name: str
    segments: tuple[Segment, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", tuple(self.segments))
        _require(bool(self.segments), f"policy '{self.name}': at least one segment is needed")

    @property
    def epochs(self) -> int:
        """Epochs of all segments together."""
        return sum(segment.epochs for segment in self.segments)

    def at(self, epoch: int) -> AnyPolicy:
        """The policy of an epoch, from 1; after the last segment, that of the last."""
        for segment, end in zip(self.segments, self._ends, strict=True):
            if epoch <= end:
                return segment.policy
        return self.segments[-1].policy

    def stretched(self, epochs: int) -> PolicySchedule:
        """The schedule over another number of epochs, in proportion.

        Boundaries go to the nearest epoch, so the parts add up exactly; one that is left without
        an epoch is dropped.

        Raises:
            ConfigError: there is no epoch to stretch it to.
        """
        _require(epochs >= 1, f"policy '{self.name}': epochs must be at least 1, got {epochs}")
        ends = [(2 * end * epochs + self.epochs) // (2 * self.epochs) for end in self._ends]
        lengths = [end - begin for begin, end in pairwise([0, *ends])]  # half up, exact
        return PolicySchedule(
            name=self.name,
            segments=tuple(
                Segment(epochs=length, policy=segment.policy)
                for length, segment in zip(lengths, self.segments, strict=True)
                if length
            ),
        )

    @property
    def _ends(self) -> list[int]:
        """The last epoch of each segment."""
        return list(accumulate(segment.epochs for segment in self.segments))


Augmentation: TypeAlias = AnyPolicy | PolicySchedule
"""What a training run can be given, and what a file can hold."""


def policy_at(augmentation: Augmentation, epoch: int) -> AnyPolicy:
    """What the batches of an epoch (from 1) are put through."""
    return augmentation.at(epoch) if isinstance(augmentation, PolicySchedule) else augmentation
