"""What chance decides for a batch: which operation, how strong, where, with whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, TypeAlias

import torch
from torch import Tensor

from trainer.augment.ops import OPS
from trainer.augment.policy import Operation, Policy, PopulationPolicy, RandomPolicy, Uniform

OP_INDEX: Final = {name: index for index, name in enumerate(OPS)}
"""Place of each operation in `OPS`, by which draws name it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operation for each of B images. Everything lies on the CPU, where the batch is divided
    up."""

    op: Tensor
    """(B,) int64 places in `OPS`; the identity where the coin said no."""
    magnitude: Tensor
    """(B,) float64 in the operation's unit, its sign drawn; 0 where it takes none."""
    place: Tensor
    """(B, 2) float64 in [0, 1): where a cutout is centred, as a share of height and width."""
    partner: Tensor
    """(B,) int64 place in the batch of the image to be paired with."""

    def only(self, images: Tensor) -> Step:
        """The step for the images marked in (B,) bool; the others keep the identity."""
        return replace(self, op=torch.where(images, self.op, OP_INDEX["identity"]))

    def select(self, rows: Tensor | slice) -> Step:
        """The step of these images alone, in this order."""
        return Step(
            op=self.op[rows],
            magnitude=self.magnitude[rows],
            place=self.place[rows],
            partner=self.partner[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Everything that chance decides for B images and L operations in a row: each field of `Step`,
    stacked."""

    op: Tensor  # (L, B)
    magnitude: Tensor  # (L, B)
    place: Tensor  # (L, B, 2)
    partner: Tensor  # (L, B)

    def steps(self) -> Iterator[Step]:
        """The operations in the order in which they are applied."""
        for index in range(len(self.op)):
            yield Step(
                op=self.op[index],
                magnitude=self.magnitude[index],
                place=self.place[index],
                partner=self.partner[index],
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """A policy's operations as columns of (R,) values, so that a draw is a look-up by row."""

    op: Tensor
    probability: Tensor
    low: Tensor
    span: Tensor
    bins: Tensor  # 0: continuous
    mirrored: Tensor
    neutral: Tensor
    whole: Tensor


Drawn: TypeAlias = Policy | RandomPolicy | PopulationPolicy
"""The policies whose operations are drawn."""


def draw(policy: Drawn, batch: int, generator: torch.Generator | None = None) -> Draws:
    """Draw the operations for a batch of images, independently for each.

    A call takes the same amount of random numbers whatever they decide, so two policies with
    equally many steps leave the generator in the same state (population policies: and equally many
    operations).

    Args:
        policy: What to draw from.
        batch: Number of images B.
        generator: Source of chance, on any device; None is torch's own on the CPU. One on the CPU
            gives the same draws everywhere and spares the GPU a wait.
    """
    rows = _rows(policy)
    num_steps = _num_steps(policy)
    device = generator.device if generator is not None else None
    numbers = torch.rand(
        (7, num_steps, batch), dtype=torch.float64, generator=generator, device=device
    ).cpu()
    choice, coin, strength, sign, partner = numbers[:5]
    if isinstance(policy, PopulationPolicy):
        row, applied = _first_that_come_up(policy, rows, choice[0], generator)
    else:
        row = _chosen_rows(policy, choice)
        applied = coin < rows.probability[row]
    return Draws(
        op=torch.where(applied, rows.op[row], OP_INDEX["identity"]),
        magnitude=torch.where(applied, _magnitudes(rows, row, strength, sign), 0.0),
        place=numbers[5:].permute(1, 2, 0),
        partner=_partners(partner),
    )


def _num_steps(policy: Drawn) -> int:
    match policy:
        case RandomPolicy():
            return policy.num_ops
        case PopulationPolicy():
            return min(len(policy.counts) - 1, len(policy.operations))
    return max(len(sub_policy.operations) for sub_policy in policy.sub_policies)


def _chosen_rows(policy: Policy | RandomPolicy, choice: Tensor) -> Tensor:
    """(L, B) rows: a new one each step for a random policy, those of one sub-policy otherwise."""
    if isinstance(policy, RandomPolicy):
        return (choice * len(policy.operations)).long()
    sub_policy = (choice[0] * len(policy.sub_policies)).long()
    num_steps = len(choice)
    return sub_policy * num_steps + torch.arange(num_steps).unsqueeze(1)


def _first_that_come_up(
    policy: PopulationPolicy, rows: _Rows, choice: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """(L, B) rows in the order in which they are met, and whether they are applied."""
    device = generator.device if generator is not None else None
    shape = (2, len(policy.operations), len(choice))
    order, coin = torch.rand(shape, dtype=torch.float64, generator=generator, device=device).cpu()
    comes_up = coin < rows.probability.unsqueeze(1)
    # Those that do not come up are met after all others, so that the first L tell everything.
    row = torch.where(comes_up, order, order + 1).topk(
        _num_steps(policy), dim=0, largest=False, sorted=True
    )
    limits = torch.tensor(policy.counts, dtype=torch.float64).cumsum(0)[:-1]
    wanted = torch.bucketize(choice, limits, right=True)
    place = torch.arange(_num_steps(policy)).unsqueeze(1)
    return row.indices, comes_up.gather(0, row.indices) & (place < wanted)


def _magnitudes(rows: _Rows, row: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    bins = rows.bins[row]
    stepped = (strength * bins).floor() / (bins - 1).clamp(min=1)
    value = rows.low[row] + rows.span[row] * torch.where(bins > 0, stepped, strength)
    value = torch.where(rows.whole[row], value.round(), value)
    reflected = 2 * rows.neutral[row] - value
    return torch.where(rows.mirrored[row] & (sign < 0.5), reflected, value)


def _partners(number: Tensor) -> Tensor:
    """Another image for each, all others equally likely; a lone image is its own partner."""
    batch = number.shape[1]
    others = 1 + (number * (batch - 1)).long()
    return (torch.arange(batch) + others) % max(batch, 1)


@lru_cache(maxsize=64)
def _rows(policy: Drawn) -> _Rows:
    operations = _padded(policy)
    meanings = [OPS[operation.name].magnitude for operation in operations]
    ends = [operation.ends or (0.0,) for operation in operations]
    ranges = [operation.magnitude for operation in operations]
    bins = [r.bins or 0 if isinstance(r, Uniform) else 0 for r in ranges]
    return _Rows(
        op=torch.tensor([OP_INDEX[operation.name] for operation in operations]),
        probability=_column([operation.probability for operation in operations]),
        low=_column([end[0] for end in ends]),
        span=_column([end[-1] - end[0] for end in ends]),
        bins=torch.tensor(bins),
        mirrored=torch.tensor([bool(operation.mirrored) for operation in operations]),
        neutral=_column([(m and m.neutral) or 0.0 for m in meanings]),
        whole=torch.tensor([m is not None and m.whole for m in meanings]),
    )


def _column(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _padded(policy: Drawn) -> list[Operation]:
    """Every operation a row; shorter sub-policies end with the identity."""
    if not isinstance(policy, Policy):
        return list(policy.operations)
    num_steps, identity = _num_steps(policy), Operation(name="identity")
    return [
        operation
        for sub_policy in policy.sub_policies
        for operation in (*sub_policy.operations, *[identity] * num_steps)[:num_steps]
    ]
