"""A policy for other people's training code: a transform made of torchvision's own functions.

What torchvision cannot do is refused by name rather than left out.
"""

from __future__ import annotations

from math import atan, degrees
from typing import Any, Final

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from trainer.augment.draws import draw
from trainer.augment.ops import OPS
from trainer.augment.policy import (
    AnyPolicy,
    ColorPipeline,
    Fill,
    Policy,
    RandomPolicy,
)
from trainer.errors import ConfigError

_NAMES: Final = tuple(OPS)
_MISSING: Final = ("sample-pairing", "solarize-add")


def to_torchvision(policy: AnyPolicy) -> PolicyTransform:
    """A torchvision transform that draws from the policy for each image it is given.

    Raises:
        ConfigError: the policy uses what torchvision has no function for: sample-pairing,
            solarize-add, or the scaled hues of the colour pipeline.
    """
    if isinstance(policy, ColorPipeline):
        raise ConfigError(f"policy '{policy.name}': torchvision cannot scale hues")
    for operation in policy.all_operations:
        if operation.name in _MISSING:
            raise ConfigError(f"policy '{policy.name}': torchvision cannot do {operation.name}")
    return PolicyTransform(policy)


class PolicyTransform(v2.Transform):  # type: ignore[misc] # torchvision carries no types
    """A policy as a transform of PIL images and uint8 image tensors, chance from torch's own
    generator.

    Boxes and masks would need the same moves as their image: a sample that holds any is refused.
    """

    def __init__(self, policy: Policy | RandomPolicy) -> None:
        super().__init__()
        self.policy = policy

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Refuse what belongs to an image but would not move with it."""
        for value in flat_inputs:
            if isinstance(value, tv_tensors.BoundingBoxes | tv_tensors.Mask | tv_tensors.KeyPoints):
                kind = type(value).__name__
                raise ConfigError(f"policy '{self.policy.name}': {kind} cannot follow the image")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """What is done to every image of one sample: names, magnitudes and places, in order."""
        steps = list(draw(self.policy, 1).steps())
        return {
            "names": [_NAMES[int(step.op)] for step in steps],
            "magnitudes": [float(step.magnitude) for step in steps],
            "places": [tuple(step.place[0].tolist()) for step in steps],
        }

    def transform(self, image: Any, params: dict[str, Any]) -> Any:
        """Do the drawn operations to one image."""
        for name, magnitude, place in zip(
            params["names"], params["magnitudes"], params["places"], strict=True
        ):
            image = apply_with_torchvision(
                image, name, magnitude, place=place, fill=self.policy.fill
            )
        return image

    def extra_repr(self) -> str:
        """The policy's name."""
        return f"policy={self.policy.name!r}"


def apply_with_torchvision(
    image: Any, name: str, magnitude: float, *, place: tuple[float, float], fill: Fill
) -> Any:
    """One operation by torchvision's own functions, on a PIL image or a uint8 tensor (…, C, H, W).

    The oracle of the batched operations. A translation is rounded to whole pixels, which is what
    sampling the nearest neighbour does to it; torchvision's own `AutoAugment` drops the fraction.
    """
    match name:
        case "identity":
            return image
        case "shear-x" | "shear-y" | "translate-x" | "translate-y" | "rotate":
            return _moved(image, name, magnitude, fill)
        case "contrast" | "color" | "brightness" | "sharpness":
            return _ADJUST[name](image, float(magnitude))  # a whole factor would overflow uint8
        case "posterize":
            bits = int(magnitude)  # Pillow refuses to keep none: that is black
            black = functional.adjust_brightness
            return functional.posterize(image, bits) if bits else black(image, 0.0)
        case "solarize":  # torchvision refuses the threshold that changes nothing
            return functional.solarize(image, magnitude) if magnitude <= 255 else image
        case "cutout":
            return _covered(image, magnitude, place, fill)
        case "autocontrast" | "invert" | "equalize":
            return getattr(functional, name)(image)
    raise ConfigError(f"policy: torchvision cannot do {name}")


_ADJUST: Final = {
    "contrast": functional.adjust_contrast,
    "color": functional.adjust_saturation,
    "brightness": functional.adjust_brightness,
    "sharpness": functional.adjust_sharpness,
}


def _moved(image: Any, name: str, magnitude: float, fill: Fill) -> Any:
    colors = list(fill) if isinstance(fill, tuple) else fill
    if name == "rotate":
        return functional.rotate(image, magnitude, fill=colors)
    axis = 0 if name.endswith("x") else 1
    translate, shear = [0, 0], [0.0, 0.0]
    if name.startswith("shear"):
        shear[axis] = degrees(atan(magnitude))
    else:
        height, width = functional.get_size(image)
        translate[axis] = round(magnitude * (width, height)[axis])
    return functional.affine(
        image,
        angle=0.0,
        translate=translate,
        scale=1.0,
        shear=shear,
        fill=colors,
        center=[0.0, 0.0] if name.startswith("shear") else None,
    )


def _covered(image: Any, fraction: float, place: tuple[float, float], fill: Fill) -> Any:
    size = functional.get_size(image)
    side = round(fraction * min(size))
    starts = [int(share * length) - side // 2 for share, length in zip(place, size, strict=True)]
    ends = [min(start + side, length) for start, length in zip(starts, size, strict=True)]
    top, left = (max(start, 0) for start in starts)
    height, width = ends[0] - top, ends[1] - left
    if height <= 0 or width <= 0:
        return image
    values = torch.tensor(fill, dtype=torch.uint8).view(-1, 1, 1)
    if not isinstance(image, Tensor):  # PIL: what is pasted must have the square's full shape
        values = values.expand(functional.get_num_channels(image), height, width)
    return functional.erase(image, top, left, height, width, values)
