"""Pooled activations sent back to the distribution they had in training.

Touvron 2019, arXiv:1906.06423, §4: a Fréchet distribution is fitted to them at the train and at the
test resolution, and a scalar map after the pool makes the one of the other. How the authors fit it
is not said; here by moments, with which the map makes mean and deviation those of training.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from math import gamma, sqrt

import torch
from torch import Tensor, nn

from trainer.fixres.anatomy import AVERAGE, MATCHING, dissect

SHAPE = 0.3
"""ξ of the distribution; fixed, as in the paper."""

_MEAN = (gamma(1 - SHAPE) - 1) / SHAPE  # 0.99352
_DEVIATION = sqrt(gamma(1 - 2 * SHAPE) - gamma(1 - SHAPE) ** 2) / SHAPE  # 2.4340


@dataclass(frozen=True, slots=True, kw_only=True)
class Frechet:
    """P(x) = exp(-(1 + ξ·(x - location)/scale)^(-1/ξ)); 0 where the base is negative."""

    location: float
    scale: float

    @property
    def mean(self) -> float:
        """location + 0.99352·scale."""
        return self.location + _MEAN * self.scale

    @property
    def deviation(self) -> float:
        """2.4340·scale."""
        return _DEVIATION * self.scale


@dataclass(frozen=True, slots=True, kw_only=True)
class AffineMap:
    """y = scale·x + shift."""

    scale: float
    shift: float


def fit_frechet(*, mean: float, deviation: float) -> Frechet:
    """The distribution that has these moments."""
    scale = deviation / _DEVIATION
    return Frechet(location=mean - _MEAN * scale, scale=scale)


def equalising_map(reference: Frechet, new: Frechet) -> AffineMap:
    """The map after which values of the new distribution have that of the reference.

    F_ref⁻¹∘F_new; with the same ξ on both sides the powers cancel, and it is affine.
    """
    scale = reference.scale / new.scale
    return AffineMap(scale=scale, shift=reference.location - scale * new.location)


class PooledMap(nn.Module):
    """y = scale·x + shift for every pooled value; the identity until it is set."""

    def __init__(self) -> None:
        super().__init__()
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("shift", torch.zeros(()))

    def set(self, values: AffineMap) -> None:
        """Take over a fitted map."""
        self.scale.fill_(values.scale)
        self.shift.fill_(values.shift)

    def forward(self, values: Tensor) -> Tensor:
        """Values of any shape, mapped one by one."""
        return values * self.scale + self.shift


def with_pooled_map(network: nn.Module) -> PooledMap:
    """Put a map behind the network's pool, in place, and return it; the one there, if there is.

    The state of the network gains two entries under the pool's name and loses none.
    """
    anatomy = dissect(network)
    _, behind = anatomy.links[anatomy.pool + 1]
    if isinstance(behind, PooledMap):
        return behind
    pool = anatomy.links[anatomy.pool][1]
    device = next(network.parameters()).device
    added = PooledMap().to(device).train(network.training)
    both = nn.Sequential(OrderedDict({AVERAGE: pool, MATCHING: added}))
    network.set_submodule(anatomy.pool_name, both.train(network.training))
    return added
