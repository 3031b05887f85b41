"""Everything that changes while a model is trained, and the step that changes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from trainer.config import TrainConfig
from trainer.data.batches import Batch
from trainer.ema import MovingAverage
from trainer.losses import build_loss
from trainer.models.build import build
from trainer.optim import build_optimizer
from trainer.precision import autocast, grad_scaler, memory_format
from trainer.seeding import seed_everything
from trainer.transfer import Weights, begin_from, frozen_parts


class TrainingState:
    """A model with its optimizer, loss scale and averaged weights.

    Args:
        config: What to train.
        device: Where.
        initial: What `config.initial` names; not needed for a state that is loaded afterwards.

    Raises: ConfigError for initial weights that do not fit.
    """

    def __init__(
        self, config: TrainConfig, *, device: torch.device, initial: Weights | None = None
    ) -> None:
        seed_everything(config.seed)
        self._config = config
        self._device = device
        self._loss = build_loss(config)
        model = build(config.model)
        if initial is not None and config.initial is not None:
            begin_from(model, initial, config.initial)
        model = model.to(device)
        self.model = model.to(memory_format=memory_format(config.execution))
        self._frozen = frozen_parts(self.model, config.initial)
        for part in self._frozen:
            part.requires_grad_(False)
        self._optimizer = build_optimizer(self.model, config.optim, batch_size=config.batch_size)
        self._scaler = grad_scaler(config.execution, device)
        self._average = (
            MovingAverage(self.model, decay=config.ema_decay) if config.ema_decay else None
        )

    def train(self) -> None:
        """Training mode, but for what is frozen: its batch statistics are not to move."""
        self.model.train()
        for part in self._frozen:
            part.eval()

    @property
    def evaluated(self) -> nn.Module:
        """The model to evaluate: with averaged weights, if there are any."""
        return self.model if self._average is None else self._average.module

    def evaluated_weights(self) -> dict[str, Tensor]:
        """A copy on the CPU of the weights and statistics of the evaluated model."""
        weights = self.evaluated.state_dict()
        return {name: weight.detach().cpu().clone() for name, weight in weights.items()}

    def step(self, batch: Batch, *, lr: float) -> Tensor:
        """Take one optimizer step and return the mean loss before it, still on the device."""
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self._device)
        for part in _micro_batches(batch, self._config.accumulate):
            # so weighted, the gradients add up to that of the mean over the whole batch
            share = self._forward(part) * (len(part.images) / len(batch.images))
            self._scaler.scale(share).backward()  # type: ignore[no-untyped-call]
            loss += share.detach()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._average is not None:
            self._average.update_parameters(self.model)
        return loss

    def _forward(self, batch: Batch) -> Tensor:
        with autocast(self._config.execution, self._device):
            return self._loss(self.model(batch.images), batch)

    def state_dict(self) -> dict[str, Any]:
        """All that a continuation depends on: plain values, and the very tensors (no copies)."""
        return {
            **self.outcome(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
        }

    def outcome(self) -> dict[str, Any]:
        """What is left of a run that needs no continuation: half of the bytes, or less."""
        return {
            "model": self.model.state_dict(),
            "average": None if self._average is None else self._average.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state that `state_dict` returned under the same configuration."""
        self.load_outcome(state)
        self._optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])

    def load_outcome(self, state: Mapping[str, Any]) -> None:
        """Take over the weights of a state, or of an `outcome`."""
        self.model.load_state_dict(state["model"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])


def _micro_batches(batch: Batch, count: int) -> Iterator[Batch]:
    """Parts whose sizes differ by one at most; fewer where there are not that many images."""
    count = min(count, len(batch.images))
    images, labels = batch.images.tensor_split(count), batch.labels.tensor_split(count)
    teacher = [None] * count if batch.teacher is None else batch.teacher.tensor_split(count)
    for part in zip(images, labels, teacher, strict=True):
        yield Batch(images=part[0], labels=part[1], teacher=part[2])
