"""Batches ready for a network: cropped, mirrored and normalised on the device that trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor

from trainer.augment.apply import apply
from trainer.augment.policy import AnyPolicy, policy_at
from trainer.config import AugmentConfig
from trainer.data.decoded import Indices
from trainer.data.defaults import default_crop_fraction
from trainer.data.rendering import render
from trainer.data.splits import ChannelStatistics, Subset
from trainer.data.views import Views, evaluation_views, training_views

_NONE: Indices = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Some images and what they show."""

    images: Tensor
    """float32 (B, 3, R, R), normalised by the training images' statistics."""
    labels: Tensor
    """int64 (B,); of mixed images float32 (B, K), the share of each class."""
    indices: Indices | None = None
    """(B,), which images of the decoded set these are; None where they are not images of it, but
    mixed or made up."""
    mirrored: Tensor | None = None
    """Which of them have left and right changed, boolean (B,), on the CPU."""
    teacher: Tensor | None = None
    """A teacher's logits for these very images, float32 (B, K)."""


def training_batches(
    subset: Subset,
    *,
    augment: AugmentConfig,
    resolution: int,
    batch_size: int,
    epoch: int,
    seed: int,
    device: torch.device | str,
    channels_last: bool = False,
    also: str = "",
) -> Iterator[Batch]:
    """One epoch of a subset, shuffled and varied, `steps_per_epoch` batches long.

    All that is random depends on (seed, epoch) alone, so that an epoch is the same whatever was
    drawn before it. Order and variation have streams of their own: runs that differ in their
    augmentation see the images in the same order. `also` names a further pass in the same epoch,
    which shares no chance with the others. An incomplete last batch is left out, unless it
    is the only one: batch norm on a few leftover images would disturb its statistics.
    """
    order_rng, view_rng, policy_rng = (
        epoch_generator(seed, epoch, also + stream) for stream in ("order", "views", "policy")
    )
    order = subset.indices[torch.randperm(len(subset), generator=order_rng).numpy()]
    steps = steps_per_epoch(len(subset), batch_size)

    def draw(sizes: Tensor) -> Views:
        return training_views(sizes, augment=augment, resolution=resolution, generator=view_rng)

    policy = None if augment.policy is None else policy_at(augment.policy, epoch)

    chunks = _chunks(order, batch_size)[:steps]
    frame = _Frame(resolution, torch.device(device), channels_last)
    for chunk, views, pixels in _seen(subset, chunks, draw, frame):
        batch = _batch(subset, chunk, _vary(pixels, policy, policy_rng), frame)
        yield replace(batch, indices=chunk, mirrored=views.mirrored)


def evaluation_batches(
    subset: Subset,
    *,
    resolution: int,
    batch_size: int,
    device: torch.device | str,
    channels_last: bool = False,
    crop_fraction: float | None = None,
) -> Iterator[Batch]:
    """Every image of a subset once, in order; the last batch may be smaller.

    The shorter side is resized to resolution / crop_fraction and the central square is shown. By
    default the fraction is 0.875 (of 256 px, 224 are seen) for sets whose usual short side is at
    least 64 px, and 1 for smaller images. It stays the same at any test resolution, so that a
    change of resolution is not a change of crop too (Touvron 2019, arXiv:1906.06423, §3).
    """
    if crop_fraction is None:
        crop_fraction = default_crop_fraction(subset.decoded.typical_short_side)

    def centre(sizes: Tensor) -> Views:
        return evaluation_views(sizes, resolution=resolution, crop_fraction=crop_fraction)

    return viewed_batches(
        subset,
        subset.indices,
        draw=centre,
        resolution=resolution,
        batch_size=batch_size,
        device=device,
        channels_last=channels_last,
    )


def viewed_batches(
    subset: Subset,
    indices: Indices,
    *,
    draw: Callable[[Tensor], Views],
    resolution: int,
    batch_size: int,
    device: torch.device | str,
    channels_last: bool = False,
    vary: Callable[[Tensor], Tensor] = lambda pixels: pixels,
) -> Iterator[Batch]:
    """Some images of a subset in this order, seen as `draw` says of their heights and widths.

    `vary` changes what is seen, uint8 (B, R, R, 3), before it is normalised. The last batch may be
    smaller.
    """
    chunks = _chunks(indices, batch_size)
    frame = _Frame(resolution, torch.device(device), channels_last)
    for chunk, _, pixels in _seen(subset, chunks, draw, frame):
        yield _batch(subset, chunk, vary(pixels), frame)


def augmented_batches(
    subset: Subset,
    *,
    policy: AnyPolicy,
    draws: int,
    resolution: int,
    batch_size: int,
    device: torch.device | str,
    channels_last: bool = False,
) -> Iterator[Batch]:
    """Every image of a subset as it is evaluated, `draws` times over, augmented anew each time.

    A batch comes in all its variants before the next one. What is drawn depends on the draw's
    number and on the images' places alone, so that policies of equally many steps meet the same
    chance, and differ by what they do.
    """
    crop_fraction = default_crop_fraction(subset.decoded.typical_short_side)

    def centre(sizes: Tensor) -> Views:
        return evaluation_views(sizes, resolution=resolution, crop_fraction=crop_fraction)

    generators = [epoch_generator(0, draw, "density") for draw in range(draws)]
    frame = _Frame(resolution, torch.device(device), channels_last)
    for chunk, _, pixels in _seen(subset, _chunks(subset.indices, batch_size), centre, frame):
        for generator in generators:
            varied = _vary(pixels, policy, generator)
            yield _batch(subset, chunk, varied, frame)


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Batches of an epoch over `count` images: complete ones, or a single incomplete one."""
    return max(count // batch_size, 1)


def normalise(images: Tensor, statistics: ChannelStatistics, *, channels_last: bool) -> Tensor:
    """uint8 (B, H, W, 3) to float32 (B, 3, H, W) of mean 0 and standard deviation 1."""
    width = images.shape[2]
    scale, shift = (
        torch.tensor(values, device=images.device).repeat(width)  # long rows add up faster than 3s
        for values in (
            [1 / (255 * std) for std in statistics.std],
            [-mean / std for mean, std in zip(statistics.mean, statistics.std, strict=True)],
        )
    )
    levels = images.flatten(2).to(torch.float32)  # (B, H, W·3)
    planes = levels.mul_(scale).add_(shift).view(images.shape).permute(0, 3, 1, 2)
    return planes if channels_last else planes.contiguous()


@dataclass(frozen=True, slots=True)
class _Frame:
    """What batches look like, and where they lie."""

    resolution: int
    device: torch.device
    channels_last: bool


def _seen(
    subset: Subset, chunks: list[Indices], draw: Callable[[Tensor], Views], frame: _Frame
) -> Iterator[tuple[Indices, Views, Tensor]]:
    """Yield each chunk with its views and what they show: uint8 (B, R, R, 3)."""
    decoded = subset.decoded
    decoded.images.expect(chunks[0])
    for chunk, following in zip_longest(chunks, chunks[1:], fillvalue=_NONE):
        views = draw(torch.from_numpy(decoded.sizes[chunk].astype(np.int64)))
        pixels = render(decoded, chunk, views, resolution=frame.resolution, device=frame.device)
        decoded.images.expect(following)  # is read while the network works on this one
        yield chunk, views, pixels


def _vary(pixels: Tensor, policy: AnyPolicy | None, generator: torch.Generator) -> Tensor:
    if policy is None:
        return pixels
    planes = pixels.permute(0, 3, 1, 2)
    return apply(policy, planes, generator=generator).permute(0, 2, 3, 1)


def _batch(subset: Subset, chunk: Indices, pixels: Tensor, frame: _Frame) -> Batch:
    return Batch(
        images=normalise(pixels, subset.statistics, channels_last=frame.channels_last),
        labels=torch.from_numpy(subset.decoded.labels[chunk]).to(frame.device),
    )


def _chunks(indices: Indices, size: int) -> list[Indices]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def epoch_generator(seed: int, epoch: int, stream: str) -> torch.Generator:
    """Independent of torch's own generator and of every other (seed, epoch, stream)."""
    digest = blake2b(f"{stream} {seed} {epoch}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
