"""What a policy does to some images, as rows of pictures; `figures` draws them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orchestrator.reporting.policy_tables import (
    color_texts,
    operation_text,
    probability_text,
    segment_spans,
)
from trainer.augment.apply import apply
from trainer.augment.files import policy_to_dict
from trainer.augment.policy import (
    AnyPolicy,
    Augmentation,
    ColorPipeline,
    Fill,
    Operation,
    Policy,
    PolicySchedule,
    SubPolicy,
)

DRAWS: Final = 3
"""Samples of each image in a row."""


class PictureRow(NamedTuple):
    """One sub-policy, operation or segment, and what it does."""

    label: str
    """May have several lines."""
    images: tuple[NDArray[np.uint8], ...]
    """(H, W, 3) each: every image as it is, followed by its draws."""


def write_policy_picture(
    policy: Augmentation, images: Tensor, path: Path, *, seed: int = 0
) -> None:
    """Draw `policy_rows` into a PNG file; one that is there is replaced.

    Raises:
        OSError: the file cannot be written.
        NotReady: there is no room for it.
    """
    from orchestrator.reporting.figures.policies import (
        draw_policy,
    )  # matplotlib takes most of a second

    heads = ["original", *(f"draw {number}" for number in range(1, DRAWS + 1))]
    draw_policy(policy_rows(policy, images, seed=seed), path, heads=heads * len(images))


def policy_rows(policy: Augmentation, images: Tensor, *, seed: int = 0) -> list[PictureRow]:
    """A row for each sub-policy, for each operation that is drawn singly, or for all colours.

    What a row is about is done to every draw, whatever its probability, so that one sees it; an
    operation of probability 0 is left out, since the policy never does it. A schedule has a row a
    segment, its policy as it is.

    Args:
        policy: What to show.
        images: uint8 (n, 3, H, W). An image is paired with another of them, a single one with
            itself, which shows nothing.
        seed: Of the draws.
    """
    generator = torch.Generator().manual_seed(seed)
    return [
        PictureRow(label, _draws(shown, images, generator)) for label, shown in _subjects(policy)
    ]


def _draws(
    policy: AnyPolicy, images: Tensor, generator: torch.Generator
) -> tuple[NDArray[np.uint8], ...]:
    drawn = [apply(policy, images, generator=generator) for _ in range(DRAWS)]
    side_by_side = torch.stack([images, *drawn], dim=1).flatten(0, 1)  # (n · (1 + DRAWS), 3, H, W)
    return tuple(side_by_side.permute(0, 2, 3, 1).cpu().numpy())


def _subjects(policy: Augmentation) -> Iterator[tuple[str, AnyPolicy]]:
    """What each row is about, and the policy whose draws show it."""
    if isinstance(policy, ColorPipeline):
        yield "\n".join(color_texts(policy_to_dict(policy))), policy
    elif isinstance(policy, PolicySchedule):
        spans = segment_spans(policy_to_dict(policy))
        yield from zip(spans, (segment.policy for segment in policy.segments), strict=True)
    elif isinstance(policy, Policy):
        for number, sub_policy in enumerate(policy.sub_policies, start=1):
            label = "\n".join(map(_label, sub_policy.operations))
            yield f"{number}. {label}", _forced(sub_policy.operations, policy.fill)
    else:
        for operation in policy.operations:
            yield _label(operation), _forced((operation,), policy.fill)


def _label(operation: Operation) -> str:
    row = asdict(operation)
    return f"{operation_text(row)}  {probability_text(row)}"


def _forced(operations: tuple[Operation, ...], fill: Fill) -> Policy:
    certain = tuple(
        replace(operation, probability=1.0 if operation.probability else 0.0)
        for operation in operations
    )
    return Policy(name="forced", sub_policies=(SubPolicy(operations=certain),), fill=fill)
