"""An augmentation policy as a torchvision transform of PIL images and uint8 image tensors.

Needs Python 3.10, torch and torchvision (made with 0.26), and nothing else. A policy is plain
values: probabilities, and magnitudes in physical units (degrees, slopes, fractions of the side,
thresholds, bits kept, factors). One that is `mirrored` is reflected about the value that changes
nothing for half of the images.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from math import atan, degrees, floor
from typing import Any, Final

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

Step = tuple[str, float, tuple[float, float]]
"""An operation, its magnitude, and where a cutout is centred, as shares of height and width."""


class PolicyTransform(v2.Transform):  # type: ignore[misc] # torchvision carries no types
    """Draws from a policy for each sample, chance from torch's own generator.

    Boxes and masks would need the same moves as their image: a sample that holds any is refused
    with a `TypeError`.
    """

    def __init__(self, policy: dict[str, Any]) -> None:
        super().__init__()
        self.policy = policy

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Refuse what belongs to an image but would not move with it."""
        for value in flat_inputs:
            if isinstance(value, tv_tensors.BoundingBoxes | tv_tensors.Mask | tv_tensors.KeyPoints):
                kind = type(value).__name__
                raise TypeError(f"policy '{self.policy['name']}': {kind} cannot follow the image")

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """What is done to every image of one sample."""
        return {"steps": draw_steps(self.policy)}

    def transform(self, image: Any, params: dict[str, Any]) -> Any:
        """Do the drawn operations to one image."""
        fill = self.policy["fill"]
        for name, magnitude, place in params["steps"]:
            image = apply_with_torchvision(image, name, magnitude, place=place, fill=fill)
        return image

    def extra_repr(self) -> str:
        """The policy's name."""
        return f"policy={self.policy['name']!r}"


def draw_steps(policy: dict[str, Any]) -> list[Step]:
    """The operations that chance chooses for one sample, in the order in which they are done."""
    numbers = torch.rand((7, _num_steps(policy)), dtype=torch.float64).tolist()
    choice, coin, strength, sign, _, top, left = numbers
    return [
        (operation["name"], _magnitude(operation, strength[i], sign[i]), (top[i], left[i]))
        for i, operation in enumerate(_chosen(policy, choice, coin))
        if operation is not None
    ]


def _num_steps(policy: dict[str, Any]) -> int:
    if policy["kind"] == "sub-policies":
        return max(len(row["operations"]) for row in policy["sub_policies"])
    if policy["kind"] == "random":
        return int(policy["num_ops"])
    return min(len(policy["counts"]) - 1, len(policy["operations"]))


def _chosen(
    policy: dict[str, Any], choice: list[float], coin: list[float]
) -> list[dict[str, Any] | None]:
    """An operation a step, None where its coin said no."""
    if policy["kind"] == "population":
        return _first_that_come_up(policy, choice[0])
    if policy["kind"] == "random":
        pool = policy["operations"]
        operations = [pool[int(number * len(pool))] for number in choice]
    else:
        rows = policy["sub_policies"]
        operations = rows[int(choice[0] * len(rows))]["operations"]
    return [
        operation if number < operation["probability"] else None
        for operation, number in zip(operations, coin, strict=False)  # some rows are shorter
    ]


def _first_that_come_up(policy: dict[str, Any], choice: float) -> list[dict[str, Any] | None]:
    """Of all operations in random order, the first so many whose coin says yes."""
    pool = policy["operations"]
    order, coin = torch.rand((2, len(pool)), dtype=torch.float64).tolist()
    met = sorted(range(len(pool)), key=order.__getitem__)
    come_up = [pool[i] for i in met if coin[i] < pool[i]["probability"]]
    return come_up[: bisect_right(list(accumulate(policy["counts"]))[:-1], choice)]


def _magnitude(operation: dict[str, Any], strength: float, sign: float) -> float:
    value = operation["magnitude"]
    if value is None:
        return 0.0
    if isinstance(value, dict):  # drawn from a range, in even steps or continuously
        bins = value["bins"]
        share = floor(strength * bins) / (bins - 1) if bins else strength
        value = value["low"] + (value["high"] - value["low"]) * share
    if operation["name"] == "posterize":
        value = round(value)
    if operation["mirrored"] and sign < 0.5:
        value = (2.0 if operation["name"] in _ADJUST else 0.0) - value
    return float(value)


def apply_with_torchvision(
    image: Any,
    name: str,
    magnitude: float,
    *,
    place: tuple[float, float],
    fill: int | tuple[int, ...] | list[int],
) -> Any:
    """One operation by torchvision's own functions, on a PIL image or a uint8 tensor (…, C, H, W).

    A translation is rounded to whole pixels, which is what sampling the nearest neighbour does to
    it; torchvision's own `AutoAugment` drops the fraction.
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
    raise ValueError(f"policy: torchvision cannot do {name}")


_ADJUST: Final = {
    "contrast": functional.adjust_contrast,
    "color": functional.adjust_saturation,
    "brightness": functional.adjust_brightness,
    "sharpness": functional.adjust_sharpness,
}
"""The operations whose magnitude is a factor: 1 changes nothing."""


def _moved(image: Any, name: str, magnitude: float, fill: int | tuple[int, ...] | list[int]) -> Any:
    colors = fill if isinstance(fill, int) else list(fill)
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


def _covered(
    image: Any,
    fraction: float,
    place: tuple[float, float],
    fill: int | tuple[int, ...] | list[int],
) -> Any:
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
