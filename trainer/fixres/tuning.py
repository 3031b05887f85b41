"""The end of a network trained on the features of its frozen part."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from trainer.config import ScheduleConfig
from trainer.data.batches import Batch
from trainer.evaluate import predict
from trainer.fixres.anatomy import dissect, tuned_part
from trainer.fixres.config import FixResConfig, effective_lr
from trainer.precision import autocast, grad_scaler
from trainer.schedule import lr_at


class Tuning:
    """A network with the optimizer of what is tuned; everything else stays as it is.

    The whole network is in evaluation mode, dropout included. Only for the time of a step the batch
    norm before the pool normalises by the batch and moves its running statistics.
    """

    def __init__(self, network: nn.Module, config: FixResConfig, *, device: torch.device) -> None:
        anatomy = dissect(network)
        self._config = config
        self._device = device
        self._norm = None if anatomy.norm is None else anatomy.norm.module
        self._head = nn.Sequential(*(module for _, module in anatomy.links[anatomy.cut :]))
        tuned = tuned_part(anatomy, config)
        state = network.state_dict()
        self._tensors = {name: state[name] for name in tuned.tensors}
        self._optimizer = SGD(
            [network.get_parameter(name) for name in tuned.parameters],
            lr=effective_lr(config.lr, batch_size=config.batch_size),
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        self._scaler = grad_scaler(config.source.execution, device)

    def step(self, features: Batch, *, lr: float) -> Tensor:
        """Take one optimizer step and return the mean loss before it, still on the device."""
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.zero_grad(set_to_none=True)
        with self._moving_norm(), autocast(self._config.source.execution, self._device):
            logits = self._head(features.images)
            loss = cross_entropy(
                logits.float(), features.labels, label_smoothing=self._config.label_smoothing
            )
        self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return loss.detach()

    def predict(self, features: Batch) -> Tensor:
        """Logits (B, K) in float32."""
        return predict(self._head, features.images, execution=self._config.source.execution)

    def lr(self, epoch: int, step: int, *, steps_per_epoch: int) -> float:
        """The rate of a step, counted from 0 within its epoch, which is counted from 1."""
        return lr_at(
            ScheduleConfig(kind="step", step_epochs=self._config.step_epochs),
            peak=effective_lr(self._config.lr, batch_size=self._config.batch_size),
            step=(epoch - 1) * steps_per_epoch + step,
            steps_per_epoch=steps_per_epoch,
            epochs=self._config.epochs,
        )

    def state_dict(self) -> dict[str, Any]:
        """All that a continuation depends on, the frozen part left out."""
        return {
            "tuned": dict(self._tensors),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that `state_dict` returned under the same configuration."""
        with torch.no_grad():
            for name, tensor in self._tensors.items():
                tensor.copy_(state["tuned"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])

    @contextmanager
    def _moving_norm(self) -> Iterator[None]:
        if self._norm is None:
            yield
            return
        self._norm.train()
        try:
            yield
        finally:
            self._norm.eval()


@contextmanager
def frozen_but(network: nn.Module, parameters: Collection[str]) -> Iterator[None]:
    """Gradients for these parameters alone, and evaluation mode for all of the network.

    Afterwards every parameter and module is as it was.
    """
    required = {name: weight.requires_grad for name, weight in network.named_parameters()}
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        for name, weight in network.named_parameters():
            weight.requires_grad_(name in parameters)
        yield
    finally:
        for name, weight in network.named_parameters():
            weight.requires_grad_(required[name])
            weight.grad = None
        for module, mode in modes.items():
            module.training = mode
