"""A policy applied to a batch: every image its own operations, a few tensor operations for all.

Chance is drawn on the CPU (`trainer.augment.draws`), so that the batch is divided up without
waiting for the device. For each step the images are sorted by operation, each family of operations
runs once over its part, and the parts are put back in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from trainer.augment.color_pipeline import ColorDraws, apply_color, draw_color
from trainer.augment.colors import blend, saturate, sharpen
from trainer.augment.draws import OP_INDEX, Draws, Step, draw
from trainer.augment.geometry import INVERSE_MAPS, cut_out, warp
from trainer.augment.ops import OPS
from trainer.augment.policy import GREY, AnyPolicy, ColorPipeline, Fill
from trainer.augment.schedule import families, operations, order_of, schedule
from trainer.augment.tables import FIXED_TABLES, MEASURED_TABLES, look_up, then
from trainer.errors import ConfigError

_CPU_PIECE: Final = 2**20
"""Pixel values worked on at once on a CPU: 1 MB of them, some 10 MB of intermediate results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The images of one family at one step."""

    images: Tensor
    """(b, C, H, W) uint8, sorted by operation."""
    step: Step
    followers: tuple[Step, ...]
    """Fixed tables to be composed with these images' own; the identity where there is none."""
    originals: Tensor
    """(B, C, H, W): the whole batch as it came in."""
    fill: Tensor
    """(1, 1 or C, 1, 1) uint8."""


def apply(policy: AnyPolicy, images: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Augment a batch; every image draws for itself.

    Args:
        policy: What to do.
        images: (B, C, H, W) uint8 on any device. With one channel (grey) `color` changes nothing.
            With four (RGBA) the alpha channel moves with the image, and what a geometric operation
            or a cutout fills is opaque.
        generator: Source of chance; None is torch's own on the CPU. One on the CPU gives the same
            draws everywhere and spares a GPU the wait.

    Returns:
        A new tensor of the same shape, type and device.

    Raises:
        ConfigError: the images have another type or shape, or are grey and the fill is a colour.
    """
    if isinstance(policy, ColorPipeline):
        _check(images, fill=GREY)
        return _apply_color_drawn(images, draw_color(policy, len(images), generator))
    _check(images, fill=policy.fill)
    return apply_drawn(images, draw(policy, len(images), generator), fill=policy.fill)


def apply_drawn(images: Tensor, draws: Draws, *, fill: Fill = GREY) -> Tensor:
    """Do to each image what was drawn for it; images, result and errors as in `apply`."""
    _check(images, fill=fill)
    if images.shape[1] == 4:
        colors = _apply_steps(images[:, :3], draws, fill=fill)
        alpha = _apply_steps(images[:, 3:], _only_moves(draws), fill=255)
        return torch.cat([colors, alpha], dim=1)
    return _apply_steps(images, draws, fill=fill)


def _check(images: Tensor, *, fill: Fill) -> None:
    if images.dtype != torch.uint8:
        kind = str(images.dtype).removeprefix("torch.")
        raise ConfigError(f"augment: images must be uint8 with values of 0 to 255, got {kind}")
    if images.ndim != 4 or images.shape[1] not in (1, 3, 4):
        shape = tuple(images.shape)
        raise ConfigError(
            f"augment: images must be (batch, 1, 3 or 4 channels, height, width), got {shape}"
        )
    if images.shape[1] == 1 and isinstance(fill, tuple):
        raise ConfigError(f"augment: grey images need a fill of one level, got {fill}")


def _apply_color_drawn(images: Tensor, draws: ColorDraws) -> Tensor:
    """Change red, green and blue; grey images have none, alpha stays."""
    if images.shape[1] == 1 or not len(images):
        return images.clone()
    pieces = [
        apply_color(images[rows, :3], draws.select(rows))
        for rows in _pieces(slice(0, len(images)), images)
    ]
    return torch.cat([torch.cat(pieces), images[:, 3:]], dim=1)


def _only_moves(draws: Draws) -> Draws:
    """What an alpha channel follows of the draws: whatever moves, covers or mixes pixels."""
    moves = torch.tensor([op.family in ("affine", "cutout", "pairing") for op in OPS.values()])
    return replace(draws, op=torch.where(moves[draws.op], draws.op, OP_INDEX["identity"]))


def _apply_steps(images: Tensor, draws: Draws, *, fill: Fill) -> Tensor:
    levels = torch.tensor(fill, dtype=torch.uint8).view(1, -1, 1, 1).to(images.device)
    changed = images
    for step, followers in schedule(draws):
        order = order_of(step)
        part = _Part(
            images=changed.index_select(0, order.to(images.device)),
            step=step.select(order),
            followers=tuple(follower.select(order) for follower in followers),
            originals=images,
            fill=levels,
        )
        changed = _apply_sorted(part).index_select(0, order.argsort().to(images.device))
    return changed


def _apply_sorted(batch: _Part) -> Tensor:
    """Run each family's kernel over its part of the sorted batch."""
    done = []
    for family, rows in families(batch.step):
        for piece in _pieces(rows, batch.images):
            part = replace(
                batch,
                images=batch.images[piece],
                step=batch.step.select(piece),
                followers=tuple(follower.select(piece) for follower in batch.followers),
            )
            done.append(_KERNELS[family](part))
    return torch.cat(done) if done else batch.images


def _pieces(rows: slice, images: Tensor) -> Iterator[slice]:
    """Cut the rows so that a piece's intermediate results fit a CPU's cache."""
    size = len(images)
    if images.device.type == "cpu":
        size = max(1, _CPU_PIECE // images[0].numel())
    for start in range(rows.start, rows.stop, size):
        yield slice(start, min(start + size, rows.stop))


def _look_up_tables(part: _Part) -> Tensor:
    device = part.images.device
    tables = torch.cat([_tables(part, name, rows) for name, rows in operations(part.step)])
    for follower in part.followers:
        if (follower.op != OP_INDEX["identity"]).any():
            tables = then(tables, _fixed_tables(follower).to(device))
    return look_up(part.images, tables)


def _tables(part: _Part, name: str, rows: slice) -> Tensor:
    """(b, C, 256) uint8 tables of one operation, on the images' device."""
    images, magnitude = part.images[rows], part.step.magnitude[rows]
    if name in FIXED_TABLES:
        tables = FIXED_TABLES[name](magnitude).to(images.device)
    else:
        tables = MEASURED_TABLES[name](images, magnitude)
    return tables.expand(-1, images.shape[1], -1)


def _fixed_tables(step: Step) -> Tensor:
    """(b, 1, 256) uint8 on the CPU, for fixed tables in any order."""
    order = step.op.argsort()
    ordered = step.select(order)
    tables = [FIXED_TABLES[name](ordered.magnitude[rows]) for name, rows in operations(ordered)]
    return torch.cat(tables)[order.argsort()]


def _warp(part: _Part) -> Tensor:
    height, width = part.images.shape[-2:]
    inverse = torch.cat(
        [
            INVERSE_MAPS[name](part.step.magnitude[rows], height, width)
            for name, rows in operations(part.step)
        ]
    )
    return warp(part.images, inverse, part.fill)


def _pair(part: _Part) -> Tensor:
    partners = part.originals.index_select(0, part.step.partner.to(part.images.device))
    return blend(part.images, partners, part.step.magnitude)


_KERNELS: Final[dict[str, Callable[[_Part], Tensor]]] = {
    "nothing": lambda part: part.images,
    "table": _look_up_tables,
    "affine": _warp,
    "color": lambda part: saturate(part.images, part.step.magnitude),
    "sharpness": lambda part: sharpen(part.images, part.step.magnitude),
    "cutout": lambda part: cut_out(part.images, part.step.magnitude, part.step.place, part.fill),
    "pairing": _pair,
}
"""What each family does to its images."""
