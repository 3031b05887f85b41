"""What single layers cost, of which `trainer.complexity` adds up networks. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.strict import Strict


@dataclass(frozen=True, slots=True, kw_only=True)
class Complexity(Strict):
    """What a network, or a part of one, costs."""

    params: int = 0
    """Trainable numbers; running statistics are none."""
    macs: int = 0
    """Multiply-adds of one image."""
    activations: int = 0
    """Output elements of the convolutions (Radosavovic 2020, arXiv:2003.13678, §3.1): what memory
    and, on accelerators, time follow more closely than multiply-adds."""

    @property
    def flops(self) -> int:
        """Floating-point operations: two for each multiply-add."""
        return 2 * self.macs

    def __add__(self, other: Complexity) -> Complexity:
        return Complexity(
            params=self.params + other.params,
            macs=self.macs + other.macs,
            activations=self.activations + other.activations,
        )

    def __mul__(self, times: int) -> Complexity:
        return Complexity(
            params=self.params * times, macs=self.macs * times, activations=self.activations * times
        )


def conv(
    inputs: int, outputs: int, *, side: int, kernel: int = 1, groups: int = 1, normed: bool = True
) -> Complexity:
    """A convolution whose output map has this side, without bias; the batch norm of its output."""
    weights = kernel * kernel * inputs // groups * outputs
    area = side * side
    params = weights + 2 * outputs if normed else weights
    return Complexity(params=params, macs=weights * area, activations=outputs * area)


def norm(channels: int) -> Complexity:
    """A batch norm's γ and β."""
    return Complexity(params=2 * channels)


def squeeze_excite(channels: int, squeezed: int) -> Complexity:
    """Two 1×1 convolutions with bias on a map of one pixel (Hu 2018, arXiv:1709.01507)."""
    weights, outputs = 2 * channels * squeezed, channels + squeezed
    return Complexity(params=weights + outputs, macs=weights, activations=outputs)


def linear(inputs: int, outputs: int) -> Complexity:
    """A linear layer with bias."""
    return Complexity(params=inputs * outputs + outputs, macs=inputs * outputs)


def strided_side(side: int, kernel: int, stride: int) -> int:
    """Side of the output map under padding (k-1)/2: an odd map keeps its last row."""
    return (side + 2 * ((kernel - 1) // 2) - kernel) // stride + 1
