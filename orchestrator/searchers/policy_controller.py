"""The recurrent network that learns which decisions pay, as a value: learning makes a new one.

Imports torch; `orchestrator.searchers.autoaugment` imports this when there is something to propose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

_EMBEDDING: Final = 32
_WEIGHT_RANGE: Final = 0.1
"""Initial weights are U(-0.1, 0.1) (Zoph 2018, arXiv:1707.07012, appendix A)."""
_SMALLEST_SPREAD: Final = 1e-8
_BETAS: Final = (0.9, 0.999)
_EPSILON: Final = 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRule:
    """Proximal policy optimization, clipped (Schulman 2017, arXiv:1707.06347, eq. 7), by Adam."""

    lr: float
    epochs: int
    clip: float
    entropy_weight: float
    baseline_decay: float


class PolicyController:
    """One LSTM layer that takes decisions one after another, each fed back as an embedding.

    Decisions of one kind share their embedding and their softmax weights wherever they stand: the
    sub-policies of a policy are exchangeable, so what is learnt for one is a guess for all.

    Args:
        choices: How many choices each of the T decisions has.
        kinds: After how many decisions the same kind comes again.
        units: Width of the LSTM.
        rule: How it learns.
        rng: Source of the initial weights.
    """

    def __init__(
        self,
        choices: Sequence[int],
        *,
        kinds: int,
        units: int,
        rule: LearningRule,
        rng: np.random.Generator,
    ) -> None:
        self._network = DecisionNetwork(choices, kinds=kinds, units=units, rng=rng)
        self._adam = Adam(list(self._network.parameters()), lr=rule.lr)
        self._rule = rule
        self._baseline: float | None = None

    def sample(self, count: int, rng: np.random.Generator) -> tuple[tuple[int, ...], ...]:
        """Take all decisions for `count` policies."""
        draws = torch.from_numpy(rng.random((count, self._network.length), dtype=np.float32))
        with _one_thread(), torch.no_grad():
            rows: list[list[int]] = self._network.sample(draws).tolist()
        return tuple(tuple(row) for row in rows)

    def learn(
        self, decisions: Sequence[Sequence[int]], rewards: Sequence[float]
    ) -> PolicyController:
        """The controller after a batch of children; this one stays as it is."""
        learner = deepcopy(self)
        advantages = learner._advantages(np.asarray(rewards))
        with _one_thread():
            learner._improve(torch.tensor(decisions), torch.from_numpy(advantages).float())
        return learner

    def _advantages(self, rewards: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Rewards over the moving average of those before, in units of their spread; both (B,).

        The first batch is measured by its own mean: from 0, every child would look good.
        """
        before = float(rewards.mean()) if self._baseline is None else self._baseline
        decay = self._rule.baseline_decay
        *_, self._baseline = accumulate(
            rewards.tolist(),
            lambda mean, reward: decay * mean + (1 - decay) * reward,
            initial=before,
        )
        advantages = rewards - before
        return advantages / max(float(np.sqrt((advantages**2).mean())), _SMALLEST_SPREAD)

    def _improve(self, decisions: Tensor, advantages: Tensor) -> None:
        rule, gain = self._rule, advantages.unsqueeze(1)  # (B, 1)
        with torch.no_grad():
            before, _ = self._network.log_probabilities(decisions)
        for _ in range(rule.epochs):
            taken, entropy = self._network.log_probabilities(decisions)
            ratio = (taken - before).exp()  # (B, T): each decision is clipped by itself
            clipped = ratio.clamp(1 - rule.clip, 1 + rule.clip)
            objective = torch.minimum(ratio * gain, clipped * gain) + rule.entropy_weight * entropy
            weights = list(self._network.parameters())
            self._adam.step(weights, torch.autograd.grad(-objective.sum(1).mean(), weights))


class DecisionNetwork(nn.Module):
    """Embedding, LSTM and a softmax; the choices of all kinds lie side by side as V tokens."""

    starts: Tensor
    """(T,) first token of each decision's kind."""
    foreign: Tensor
    """(T, V) tokens that are no choice of that decision."""

    def __init__(
        self, choices: Sequence[int], *, kinds: int, units: int, rng: np.random.Generator
    ) -> None:
        super().__init__()
        self.length = len(choices)
        first = [0, *accumulate(choices[:kinds])]
        num_tokens, tokens = first[kinds], torch.arange(first[kinds])
        self.register_buffer("starts", torch.tensor([first[t % kinds] for t in range(self.length)]))
        ends = self.starts + torch.tensor(choices)
        self.register_buffer(
            "foreign", (tokens < self.starts.unsqueeze(1)) | (tokens >= ends.unsqueeze(1))
        )
        self.embedding = nn.Embedding(num_tokens + 1, _EMBEDDING)  # the last token begins a policy
        self.lstm = nn.LSTM(_EMBEDDING, units, batch_first=True)
        self.head = nn.Linear(units, num_tokens)
        with torch.no_grad():
            for weights in self.parameters():
                values = rng.uniform(-_WEIGHT_RANGE, _WEIGHT_RANGE, tuple(weights.shape))
                weights.copy_(torch.from_numpy(values))

    def sample(self, draws: Tensor) -> Tensor:
        """Decisions (B, T) by inverting each softmax's distribution at (B, T) draws from [0, 1)."""
        token = self._begin(len(draws))
        state, decisions = None, []
        for step, (start, foreign) in enumerate(zip(self.starts, self.foreign, strict=True)):
            hidden, state = self.lstm(self.embedding(token), state)
            logits = self.head(hidden[:, 0])[:, ~foreign]  # (B, choices)
            below = logits.softmax(-1).cumsum(-1)[:, :-1]  # all but the last, whose sum may miss 1
            decision = (below <= draws[:, step : step + 1]).sum(-1)  # (B,)
            decisions.append(decision)
            token = (decision + start).unsqueeze(1)
        return torch.stack(decisions, dim=1)

    def log_probabilities(self, decisions: Tensor) -> tuple[Tensor, Tensor]:
        """Log probability of each decision after those before it, and the entropy there: (B, T)."""
        tokens = decisions + self.starts
        inputs = torch.cat([self._begin(len(tokens)), tokens[:, :-1]], dim=1)
        hidden, _ = self.lstm(self.embedding(inputs))
        logs = self.head(hidden).masked_fill(self.foreign, -torch.inf).log_softmax(-1)  # (B, T, V)
        entropy = -(logs.exp() * logs.masked_fill(self.foreign, 0)).sum(-1)
        return logs.gather(-1, tokens.unsqueeze(-1)).squeeze(-1), entropy

    def _begin(self, batch: int) -> Tensor:
        return torch.full((batch, 1), self.embedding.num_embeddings - 1)


class Adam:
    """Adam's two moments (Kingma & Ba 2015, arXiv:1412.6980, algorithm 1), apart from the weights.

    Not torch's own: constructing that one loads torch's compiler, which takes longer than all the
    updates of a search of a thousand children.
    """

    def __init__(self, weights: Sequence[Tensor], *, lr: float) -> None:
        self._lr, self._steps = lr, 0
        self._means = [torch.zeros_like(values) for values in weights]
        self._squares = [torch.zeros_like(values) for values in weights]

    @torch.no_grad()
    def step(self, weights: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        """Move the weights, in place, against their gradients."""
        self._steps += 1
        rate = self._lr / (1 - _BETAS[0] ** self._steps)
        correction = 1 - _BETAS[1] ** self._steps
        for values, gradient, mean, square in zip(
            weights, gradients, self._means, self._squares, strict=True
        ):
            mean.lerp_(gradient, 1 - _BETAS[0])
            square.lerp_(gradient * gradient, 1 - _BETAS[1])
            values.addcdiv_(mean, (square / correction).sqrt_() + _EPSILON, value=-rate)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The number of threads moves the last digits; these products are too small to share anyway."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
