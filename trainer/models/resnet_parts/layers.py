"""Convolution, batch norm and ReLU."""

from collections.abc import Callable, Iterable

from torch import nn

from trainer.models.resnet_layout import Unit

Norm = Callable[[int], nn.Module]
"""From a number of channels to the batch norm over them."""


def convolution(unit: Unit) -> nn.Conv2d:
    """The unit's convolution, padded to keep the side of the map at stride 1; without bias."""
    return nn.Conv2d(
        unit.inputs,
        unit.outputs,
        unit.kernel,
        unit.stride,
        padding=unit.kernel // 2,
        bias=False,
    )


def chain(units: Iterable[Unit], norm: Norm, *, ends_active: bool = True) -> nn.Sequential:
    """Convolution, batch norm and ReLU of each unit; the last ReLU only if `ends_active`."""
    modules: list[nn.Module] = []
    for unit in units:
        modules += [convolution(unit), norm(unit.outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*(modules if ends_active else modules[:-1]))
