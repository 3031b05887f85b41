"""A policy for other people's training code: a transform made of torchvision's own functions.

What torchvision cannot do is refused by name rather than left out. The transform itself knows
nothing of this project (`trainer.augment.torchvision_transform`), so that its text can be given
away; on the same random numbers it draws what `trainer.augment.draws` does.
"""

from __future__ import annotations

from typing import Any, Final

from trainer.augment.files import policy_to_dict
from trainer.augment.policy import AnyPolicy, ColorPipeline
from trainer.augment.torchvision_transform import PolicyTransform, apply_with_torchvision
from trainer.errors import ConfigError

__all__ = ["apply_with_torchvision", "to_torchvision", "torchvision_policy"]

_MISSING: Final = ("sample-pairing", "solarize-add")


def to_torchvision(policy: AnyPolicy) -> PolicyTransform:
    """A torchvision transform that draws from the policy for each image it is given.

    Raises:
        ConfigError: as `torchvision_policy`.
    """
    return PolicyTransform(torchvision_policy(policy))


def torchvision_policy(policy: AnyPolicy) -> dict[str, Any]:
    """The policy as `PolicyTransform` takes it: the plain values of its JSON file.

    Raises:
        ConfigError: the policy uses what torchvision has no function for: sample-pairing,
            solarize-add, or the scaled hues of the colour pipeline.
    """
    if isinstance(policy, ColorPipeline):
        raise ConfigError(f"policy '{policy.name}': torchvision cannot scale hues")
    for operation in policy.all_operations:
        if operation.name in _MISSING:
            raise ConfigError(f"policy '{policy.name}': torchvision cannot do {operation.name}")
    return policy_to_dict(policy)
