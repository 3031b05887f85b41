"""What a magnitude level means in each codebase. Loads no torch.

Published policies state magnitudes as levels, and no two codebases agree on what a level does:
level 5 of posterize keeps 6 bits in one and 2 in another, and level 9 is 90 % of the range or all
of it. Inside, a policy holds physical values; levels exist only here, where policies come in or go
out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Final, TypeAlias

from trainer.augment.ops import REFERENCE_SIDE
from trainer.augment.policy import GREY, Fill, Operation, Policy, SubPolicy
from trainer.errors import ConfigError, unknown_value

LeveledOperation: TypeAlias = tuple[str, float, float | None]
"""An operation under the codebase's own name, its probability, its level (None: takes none)."""

LeveledTable: TypeAlias = Sequence[tuple[LeveledOperation, ...]]
"""A policy as published: a row a sub-policy."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What one operation's levels mean in one codebase."""

    op: str
    """Our name of it."""
    magnitude: Callable[[float], float] | None = None
    """Physical value of a level; None for an operation that takes no magnitude."""
    mirrored: bool | None = None
    """Whether that codebase mirrors at random; None as in the paper."""


@dataclass(frozen=True, slots=True)
class Levels:
    """A codebase's operation names and levels."""

    top: int
    """The highest level."""
    scales: Mapping[str, Scale]


def _linear(low: float, high: float, top: int) -> Callable[[float], float]:
    return lambda level: low + (high - low) * level / top


def _shared(top: int) -> dict[str, Scale]:
    """What every codebase agrees on but for the highest level."""
    return {
        "ShearX": Scale("shear-x", _linear(0, 0.3, top)),
        "ShearY": Scale("shear-y", _linear(0, 0.3, top)),
        "Rotate": Scale("rotate", _linear(0, 30, top)),
        "AutoContrast": Scale("autocontrast"),
        "Invert": Scale("invert"),
        "Equalize": Scale("equalize"),
    }


def _translate(scale: Callable[[float], float]) -> dict[str, Scale]:
    return {
        "TranslateX": Scale("translate-x", scale),
        "TranslateY": Scale("translate-y", scale),
    }


def _factors(
    scale: Callable[[float], float], *, suffix: str = "", mirrored: bool = False
) -> dict[str, Scale]:
    names = ("Contrast", "Color", "Brightness", "Sharpness")
    return {f"{name}{suffix}": Scale(name.lower(), scale, mirrored) for name in names}


def _solarize_add(level: float) -> float:
    return int(level / 10 * 110)


def _falling_solarize(level: float) -> float:
    """Thresholds that rise with the level, so that level 0 is the strongest."""
    return min(256, int(level / 10 * 256))


def _few_bits(level: float) -> float:
    """0 to 4 bits: the table of the EfficientNet code, whose level 2 and below is a black image."""
    return int(level / 10 * 4)


_PAPER = Levels(
    top=9,
    scales={
        **_shared(9),
        **_translate(_linear(0, 150 / REFERENCE_SIDE, 9)),
        **_factors(_linear(0.1, 1.9, 9)),
        "Solarize": Scale("solarize", _linear(0, 256, 9)),
        "Posterize": Scale("posterize", lambda level: round(4 + 4 * level / 9)),
        "Cutout": Scale("cutout", _linear(0, 60 / REFERENCE_SIDE, 9)),
        "SamplePairing": Scale("sample-pairing", _linear(0, 0.4, 9)),
    },
)

_TORCHVISION = Levels(
    top=9,
    scales={
        **_shared(9),
        **_translate(_linear(0, 150 / REFERENCE_SIDE, 9)),
        **_factors(_linear(1, 1.9, 9), mirrored=True),
        "Solarize": Scale("solarize", _linear(255, 0, 9)),
        "Posterize": Scale("posterize", lambda level: round(8 - level / (9 / 4))),
        "Identity": Scale("identity"),
    },
)

_TPU = Levels(
    top=10,
    scales={
        **_shared(10),
        **_translate(_linear(0, 250 / REFERENCE_SIDE, 10)),
        **_factors(_linear(0.1, 1.9, 10)),
        "Solarize": Scale("solarize", _falling_solarize),
        "SolarizeAdd": Scale("solarize-add", _solarize_add),
        "Posterize": Scale("posterize", _few_bits),
        # Its constant of 100 px is padded to either side of the centre.
        "Cutout": Scale("cutout", lambda level: 2 * int(level / 10 * 100) / REFERENCE_SIDE),
    },
)

_RESEARCH = Levels(
    top=10,
    scales={
        **_shared(10),
        "Rotate": Scale("rotate", lambda level: int(level * 30 / 10)),
        **_translate(lambda level: int(level * 10 / 10) / 32),  # pixels of a 32-pixel image
        **_factors(_linear(0.1, 1.9, 10)),
        "Solarize": Scale("solarize", lambda level: 256 - int(level * 256 / 10)),
        "Posterize": Scale("posterize", lambda level: 4 - int(level * 4 / 10)),
        "Cutout": Scale("cutout", lambda level: int(level * 20 / 10) / 32),
    },
)

_TIMM = Levels(
    top=10,
    scales={
        **_shared(10),
        **_translate(_linear(0, 250 / REFERENCE_SIDE, 10)),
        "TranslateXRel": Scale("translate-x", _linear(0, 0.45, 10)),
        "TranslateYRel": Scale("translate-y", _linear(0, 0.45, 10)),
        **_factors(_linear(0.1, 1.9, 10)),
        **_factors(_linear(1, 1.9, 10), suffix="Increasing", mirrored=True),
        "Solarize": Scale("solarize", _falling_solarize),
        "SolarizeIncreasing": Scale("solarize", lambda level: 256 - _falling_solarize(level)),
        "SolarizeAdd": Scale("solarize-add", _solarize_add),
        "Posterize": Scale("posterize", _few_bits),
        "PosterizeIncreasing": Scale("posterize", lambda level: 4 - _few_bits(level)),
        "PosterizeOriginal": Scale("posterize", lambda level: 4 + _few_bits(level)),
    },
)

MAPPINGS: Final[Mapping[str, Levels]] = {
    "autoaugment": _PAPER,
    "torchvision": _TORCHVISION,
    "timm": _TIMM,
    "tpu": _TPU,
    "research": _RESEARCH,
}
"""The known meanings of levels.

- `autoaugment`: the paper's own text, ten levels evenly over each range, both ends included.
- `torchvision`: its `AutoAugment`; factors are mirrored, solarize and posterize grow stronger.
- `timm`: its `AugmentOp`, where a suffix of the name chooses among the others' meanings.
- `tpu`: the code of EfficientNet, whose pixels are taken as those of the paper's 331-pixel images.
- `research`: the authors' CIFAR code, whose pixels are those of a 32-pixel image.
"""


def operation_from_level(leveled: LeveledOperation, *, mapping: str) -> Operation:
    """The operation in physical units that `(name, probability, level)` means in that codebase.

    Raises:
        ConfigError: the mapping or the name is unknown, or the level beyond the mapping's.
    """
    name, probability, level = leveled
    scales, top = _mapping(mapping).scales, _mapping(mapping).top
    if name not in scales:
        raise unknown_value(f"{mapping}: operation", name, scales)
    scale = scales[name]
    if scale.magnitude is None:
        return Operation(name=scale.op, probability=probability)
    if level is None or not 0 <= level <= top:
        raise ConfigError(f"{mapping}: {name}: level must be within 0 and {top}, got {level}")
    return Operation(
        name=scale.op,
        probability=probability,
        magnitude=scale.magnitude(level),
        mirrored=scale.mirrored,
    )


def policy_from_levels(
    table: LeveledTable, *, name: str, mapping: str, fill: Fill = GREY
) -> Policy:
    """The policy in physical units that a published table means in that codebase.

    Raises:
        ConfigError: as `operation_from_level`.
    """
    return Policy(
        name=name,
        sub_policies=tuple(
            SubPolicy(operations=tuple(operation_from_level(op, mapping=mapping) for op in row))
            for row in table
        ),
        fill=fill,
    )


def policy_to_levels(policy: Policy, *, mapping: str) -> list[tuple[LeveledOperation, ...]]:
    """The policy in that codebase's names and whole levels.

    Raises:
        ConfigError: an operation, magnitude or sign that no whole level of the mapping means; the
            message names it.
    """
    try:
        return [
            tuple(_level_of(operation, mapping) for operation in sub_policy.operations)
            for sub_policy in policy.sub_policies
        ]
    except ConfigError as error:
        raise ConfigError(f"policy '{policy.name}': {error}") from None


def _level_of(operation: Operation, mapping: str) -> LeveledOperation:
    candidates = {
        name: scale
        for name, scale in _mapping(mapping).scales.items()
        if scale.op == operation.name
    }
    if not candidates:
        raise ConfigError(f"{mapping} has no operation like {operation.name}")
    for name, scale in candidates.items():
        if scale.magnitude is None:
            return (name, operation.probability, None)
        for level in range(_mapping(mapping).top + 1):
            if _same(operation, operation_from_level((name, 1.0, level), mapping=mapping)):
                return (name, operation.probability, level)
    sign = " with a random sign" if operation.mirrored else ""
    value = " to ".join(f"{end:g}" for end in operation.ends)
    raise ConfigError(f"{mapping} has no level for {operation.name} {value}{sign}")


def _same(ours: Operation, theirs: Operation) -> bool:
    if ours.mirrored != theirs.mirrored or len(ours.ends) != 1:
        return False
    return isclose(ours.ends[0], theirs.ends[0], rel_tol=1e-9, abs_tol=1e-12)


def _mapping(name: str) -> Levels:
    if name not in MAPPINGS:
        raise unknown_value("level mapping", name, MAPPINGS)
    return MAPPINGS[name]
