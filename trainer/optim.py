"""Optimizers, and which parameters they decay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

from trainer.config import OptimConfig

REFERENCE_BATCH = 256
"""The batch for which `OptimConfig.lr` is stated, where it is scaled."""

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def scaled_lr(lr: float, *, batch_size: int) -> float:
    """The peak rate for a batch, linear in its size (Goyal 2017, arXiv:1706.02677, §2.1)."""
    return lr * batch_size / REFERENCE_BATCH


def peak_lr(config: OptimConfig, *, batch_size: int) -> float:
    """The rate that the schedule starts from, or warms up to."""
    return config.lr if config.fixed_lr else scaled_lr(config.lr, batch_size=batch_size)


def build_optimizer(model: nn.Module, config: OptimConfig, *, batch_size: int) -> Optimizer:
    """The configured optimizer over the model's trainable parameters, at its peak rate."""
    groups = parameter_groups(
        model,
        weight_decay=config.weight_decay,
        decay_norm_and_bias=config.decay_norm_and_bias,
        decay_bias=config.decay_bias,
    )
    lr = peak_lr(config, batch_size=batch_size)
    if config.optimizer == "sgd":
        return SGD(groups, lr=lr, momentum=config.momentum, nesterov=config.momentum > 0)
    return RMSPropTF(
        groups,
        lr=lr,
        decay=config.rmsprop_decay,
        momentum=config.momentum,
        eps=config.rmsprop_eps,
    )


def parameter_groups(
    model: nn.Module,
    *,
    weight_decay: float,
    decay_norm_and_bias: bool = False,
    decay_bias: bool = False,
) -> list[dict[str, Any]]:
    """Two groups: parameters with weight decay, and those without.

    Norm layers' γ and β and every bias go without (He 2018, arXiv:1812.01187, §3.1) unless asked
    for; `decay_bias` asks for biases other than β. Frozen parameters are in neither group, shared
    ones in one.
    """
    decayed: dict[int, nn.Parameter] = {}
    spared: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not parameter.requires_grad or id(parameter) in decayed or id(parameter) in spared:
                continue
            of_norm = isinstance(module, _NORMS)
            asked_for = decay_norm_and_bias or (decay_bias and not of_norm)
            spare = not asked_for and (of_norm or name == "bias")
            (spared if spare else decayed)[id(parameter)] = parameter
    return [
        {"params": list(decayed.values()), "weight_decay": weight_decay},
        {"params": list(spared.values()), "weight_decay": 0.0},
    ]


class RMSPropTF(Optimizer):
    """RMSProp as TensorFlow computes it, which the EfficientNet recipe was tuned with.

    With g the gradient plus weight_decay·w::

        s ← decay·s + (1 - decay)·g²          s starts at 1
        m ← momentum·m + lr·g / √(s + eps)    m starts at 0
        w ← w - m

    torch's RMSprop starts s at 0, adds eps outside the root, and multiplies by lr after the
    momentum: with the published eps of 1e-3 its first steps are larger by a factor of about 3, and
    a falling rate shrinks steps that are already under way.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float,
        decay: float = 0.9,
        momentum: float = 0.9,
        eps: float = 1e-3,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "decay": decay,
            "momentum": momentum,
            "eps": eps,
            "weight_decay": weight_decay,
        }
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                self._update(weights, group)
        return loss

    def _update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        # foreach: one kernel for all tensors instead of five for each of some 200
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        if group["weight_decay"]:
            gradients = list(torch._foreach_add(gradients, weights, alpha=group["weight_decay"]))
        squares, momenta = self._state_of(weights)
        torch._foreach_mul_(squares, group["decay"])
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - group["decay"])
        roots = torch._foreach_add(squares, group["eps"])
        torch._foreach_sqrt_(roots)
        torch._foreach_mul_(momenta, group["momentum"])
        torch._foreach_addcdiv_(momenta, gradients, roots, value=group["lr"])
        torch._foreach_sub_(weights, momenta)

    def _state_of(self, weights: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        for weight in weights:
            state = self.state[weight]
            if not state:
                state["square"] = torch.ones_like(weight)
                state["momentum"] = torch.zeros_like(weight)
        return (
            [self.state[weight]["square"] for weight in weights],
            [self.state[weight]["momentum"] for weight in weights],
        )
