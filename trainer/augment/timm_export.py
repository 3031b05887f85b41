"""A policy for other people's training code: timm's operations.

What timm cannot do is refused by name rather than left out.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, Final

from trainer.augment.policy import (
    AnyPolicy,
    ColorPipeline,
    Operation,
    Policy,
    PopulationPolicy,
    Uniform,
)
from trainer.errors import ConfigError

if TYPE_CHECKING:
    from timm.data.auto_augment import AugmentOp

_PLAIN: Final = {"autocontrast": "AutoContrast", "equalize": "Equalize", "invert": "Invert"}
_TOP: Final = 10


def to_timm(policy: AnyPolicy) -> list[list[AugmentOp]]:
    """The policy as timm's operations: a list a sub-policy, or one list for a random policy.

    The lists fit `timm.data.auto_augment.AutoAugment`, the single one its `RandAugment` with
    `num_layers=policy.num_ops`. Images are PIL; chance is Python's `random`, as timm has it.

    Raises:
        ConfigError: as `timm_policy`.
    """
    from trainer.augment.timm_transform import augment_ops  # timm is not there for everybody

    return augment_ops(timm_policy(policy))


def timm_policy(policy: AnyPolicy) -> dict[str, Any]:
    """The policy as `trainer.augment.timm_transform` takes it: plain values in timm's names and
    levels. Needs no timm.

    Raises:
        ConfigError: timm has no such operation (cutout, sample-pairing, the colour pipeline), or
            its levels do not reach it (a drawn magnitude, a fixed sign, a factor
            below 0.1, no bits), or it cannot draw in this way (a population policy).
    """
    if isinstance(policy, ColorPipeline):
        raise ConfigError(f"policy '{policy.name}': timm cannot scale hues")
    if isinstance(policy, PopulationPolicy):
        raise ConfigError(
            f"policy '{policy.name}': timm cannot draw how many operations it applies"
        )
    groups = (
        [sub_policy.operations for sub_policy in policy.sub_policies]
        if isinstance(policy, Policy)
        else [policy.operations]
    )
    try:
        operations = [[_converted(operation) for operation in group] for group in groups]
    except ConfigError as error:
        raise ConfigError(f"policy '{policy.name}': {error}") from None
    return {
        "name": policy.name,
        "fill": list(policy.fill) if isinstance(policy.fill, tuple) else [policy.fill] * 3,
        "num_ops": None if isinstance(policy, Policy) else policy.num_ops,
        "operations": operations,
    }


def _converted(operation: Operation) -> dict[str, Any]:
    name, level, settings = _level(operation)
    return {
        "name": name,
        "prob": 0.0 if operation.name == "identity" else operation.probability,
        "level": level,
        "hparams": settings,
    }


def _level(operation: Operation) -> tuple[str, float, dict[str, float]]:
    """timm's name, the level at which it does what we mean, and what it must be told besides."""
    name, value = operation.name, operation.magnitude
    if name in _PLAIN:
        return _PLAIN[name], 0.0, {}
    if isinstance(value, Uniform):
        raise ConfigError(f"timm cannot draw the magnitude of {name} from a range")
    if name == "identity":
        return "AutoContrast", 0.0, {}  # with a probability of 0
    if value is None or name in ("cutout", "sample-pairing"):
        raise ConfigError(f"timm cannot do {name}")
    if name in ("contrast", "color", "brightness", "sharpness"):
        return *_factor_level(operation, value), {}
    if name in ("solarize", "solarize-add", "posterize"):
        return *_step_level(name, value), {}
    return _move_level(operation, value)


def _factor_level(operation: Operation, factor: float) -> tuple[str, float]:
    name = operation.name.capitalize()
    reach = 0.9 + 1e-9
    if operation.mirrored and abs(factor - 1) <= reach:
        return f"{name}Increasing", abs(factor - 1) / 0.9 * _TOP
    if not operation.mirrored and factor >= 0.1:
        return name, (factor - 0.1) / 1.8 * _TOP
    raise ConfigError(f"timm cannot take {operation.name} below a factor of 0.1 (given {factor:g})")


def _step_level(name: str, value: float) -> tuple[str, float]:
    """Levels that timm rounds down to whole steps: the middle of those that come out right."""
    if name == "solarize":
        return "Solarize", (ceil(value) + 0.5) / 256 * _TOP
    if name == "posterize":
        bits = int(value)
        if bits == 0:
            raise ConfigError("timm cannot posterize to 0 bits")
        kept, low = ("PosterizeOriginal", 4) if bits >= 4 else ("Posterize", 0)
        return kept, (bits - low + 0.5) / 4 * _TOP
    if value >= 129:
        raise ConfigError(f"timm cannot add more than 128 in solarize-add (given {value:g})")
    return "SolarizeAdd", (int(value) + 0.5) / 110 * _TOP


def _move_level(operation: Operation, value: float) -> tuple[str, float, dict[str, float]]:
    if value and not operation.mirrored:
        raise ConfigError(f"timm cannot fix the sign of {operation.name} (given {value:g})")
    kind, size = operation.name.removesuffix("-x").removesuffix("-y"), abs(value)
    axis = operation.name[-1].upper()
    if kind == "rotate":
        return "Rotate", size / 30 * _TOP, {}
    if kind == "shear":
        return f"Shear{axis}", size / 0.3 * _TOP, {}
    return f"Translate{axis}Rel", _TOP, {"translate_pct": size}
