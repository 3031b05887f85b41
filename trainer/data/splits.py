"""What is trained on, selected on and reported on: nothing is selected on the reporting split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.config import DataConfig
from trainer.data.decoded import DecodedSet, Indices, content_hash
from trainer.errors import ConfigError, DatasetError


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStatistics:
    """Per channel, over all pixels of some images, as fractions of full brightness."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subset:
    """Some images of a decoded set."""

    decoded: DecodedSet
    indices: Indices
    """(N,), ascending."""
    statistics: ChannelStatistics
    """What images are normalised by; of the training images, whichever subset this is."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,), in the order of `indices`."""
        return self.decoded.labels[self.indices]

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Splits:
    """Three disjoint subsets of one decoded set."""

    train: Subset
    selection: Subset
    reporting: Subset


def carve(decoded: DecodedSet, config: DataConfig) -> Splits:
    """Divide a set, carving from its train split what it does not bring itself.

    A set of train and val (or test) reports on that one and selects on a part of train; with all
    three, val selects and test reports; with train alone both are carved from it. What is carved
    has the classes in train's proportions, to within one image, and depends on the seed and on
    what the images show, not on their names or order.

    Raises:
        ConfigError: the fractions leave nothing to train on.
        DatasetError: a class has too few images, or `train_images` cannot be met.
    """
    train, *own = [np.arange(span.start, span.stop) for span in decoded.splits.values()]
    fractions = (config.reporting_fraction, config.selection_fraction)[len(own) :]
    if sum(fractions) >= 1:
        raise ConfigError(
            f"data.selection_fraction and data.reporting_fraction are {config.selection_fraction} "
            f"and {config.reporting_fraction}; together they must leave a part to train on"
        )
    *carved, train = _divide(decoded, train, fractions, seed=config.split_seed)
    train = _reduced(decoded, train, config)
    reporting, selection = own[::-1] + carved
    statistics = _asked(config) or channel_statistics(decoded, train)
    return Splits(
        train=Subset(decoded=decoded, indices=train, statistics=statistics),
        selection=Subset(decoded=decoded, indices=selection, statistics=statistics),
        reporting=Subset(decoded=decoded, indices=reporting, statistics=statistics),
    )


def hold_out(splits: Splits, fraction: float, *, seed: int, number: int) -> Splits:
    """The training images in two, a stratified part of them in place of the selection split.

    Each number holds out another part. What images are normalised by is of the rest alone.

    Raises:
        DatasetError: a class has a single image.
    """
    decoded = splits.train.decoded
    # a seed of its own for each number, and none that `carve` has used
    mixed = int(_mixed(np.array([seed % 2**64], np.uint64))[0]) + 1 + number
    held, rest = _divide(decoded, splits.train.indices, (fraction,), seed=mixed)
    statistics = channel_statistics(decoded, rest)
    return Splits(
        train=Subset(decoded=decoded, indices=rest, statistics=statistics),
        selection=Subset(decoded=decoded, indices=held, statistics=statistics),
        reporting=splits.reporting,
    )


def learning_fingerprint(splits: Splits) -> str:
    """32 hex digits over the training and selection images and labels: all a trial depends on."""
    return content_hash(
        [f"{splits.train.decoded.num_classes} classes"],
        *_content(splits.train),
        *_content(splits.selection),
    )


def reporting_fingerprint(splits: Splits) -> str:
    """32 hex digits over the reporting images and labels."""
    return content_hash(["reporting"], *_content(splits.reporting))


def channel_statistics(decoded: DecodedSet, indices: Indices) -> ChannelStatistics:
    """Mean and standard deviation over all pixels of these images, from exact sums."""
    sums, squares = decoded.moments[indices].sum(axis=0).tolist()
    pixels = int(decoded.sizes[indices].astype(np.int64).prod(axis=1).sum())
    variances = (
        (pixels * square - total * total) / pixels**2  # integers: nothing cancels
        for total, square in zip(sums, squares, strict=True)
    )
    return ChannelStatistics(
        mean=tuple(total / pixels / 255 for total in sums),
        std=tuple(max(variance**0.5, 1.0) / 255 for variance in variances),  # one level at least
    )


def _asked(config: DataConfig) -> ChannelStatistics | None:
    return ChannelStatistics(mean=config.mean, std=config.std) if config.mean else None


def apportion(total: int, counts: Sequence[int]) -> list[int]:
    """Shares of `total` in proportion to `counts`, by largest remainders (ties: the first)."""
    whole = sum(counts)
    shares = [count * total // whole for count in counts]
    remainders = [count * total % whole for count in counts]
    by_remainder = sorted(range(len(counts)), key=lambda place: -remainders[place])
    for place in by_remainder[: total - sum(shares)]:
        shares[place] += 1
    return shares


def _divide(
    decoded: DecodedSet, indices: Indices, fractions: Sequence[float], *, seed: int
) -> list[Indices]:
    """A stratified part per fraction, then the rest; every class gets into each of them."""
    classes = _shuffled_classes(decoded, indices, seed=seed)
    counts = [len(members) for members in classes]
    needed = len(fractions) + 1
    _require_images(decoded, counts, needed)
    parts: list[list[Indices]] = [[] for _ in range(needed)]
    wanted = [apportion(int(sum(counts) * part + 0.5), counts) for part in fractions]
    for place, members in enumerate(classes):
        start = 0
        for later, shares in enumerate(wanted, start=1):
            most = len(members) - start - (needed - later)  # one for each part that follows
            end = start + min(max(shares[place], 1), most)
            parts[later - 1].append(members[start:end])
            start = end
        parts[-1].append(members[start:])
    return [np.sort(np.concatenate(part)) for part in parts]


def _require_images(decoded: DecodedSet, counts: Sequence[int], needed: int) -> None:
    fewest = min(range(len(counts)), key=counts.__getitem__)
    if counts[fewest] < needed:
        raise DatasetError(
            f"class '{decoded.class_names[fewest]}' has {counts[fewest]} training image(s), "
            f"too few to carve {needed - 1} further split(s) from; it needs at least {needed}"
        )


def _reduced(decoded: DecodedSet, train: Indices, config: DataConfig) -> Indices:
    """A stratified part of `train_images` images; all of them for 0."""
    if config.train_images == 0:
        return train
    if not decoded.num_classes <= config.train_images <= len(train):
        raise DatasetError(
            f"data.train_images is {config.train_images}; this data set leaves {len(train)} "
            f"to train on, in {decoded.num_classes} classes, of which each needs one"
        )
    classes = _shuffled_classes(decoded, train, seed=config.split_seed)
    spare = config.train_images - len(classes)  # after one for each class
    shares = apportion(spare, [len(members) - 1 for members in classes]) if spare else None
    chosen = [
        members[: 1 + (shares[place] if shares else 0)] for place, members in enumerate(classes)
    ]
    return np.sort(np.concatenate(chosen))


def _shuffled_classes(decoded: DecodedSet, indices: Indices, *, seed: int) -> list[Indices]:
    """The images of each class in an order that depends on their content and the seed alone.

    So a renamed file changes nothing and an added one moves few others; copies of an image are
    neighbours and seldom fall on both sides of a cut. No library's shuffle is involved, whose
    order another version might change.
    """
    content = np.ascontiguousarray(decoded.digests[indices]).view("<u8")[:, 0]
    ranks = _mixed(content ^ _mixed(np.array([seed % 2**64], np.uint64)))
    order = indices[np.argsort(ranks, kind="stable")]
    labels = decoded.labels[order]
    return [order[labels == label] for label in range(decoded.num_classes)]


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A bijection of 64-bit words that leaves no visible pattern (SplitMix64, Steele 2014)."""
    words = words + np.uint64(0x9E3779B97F4A7C15)  # overflow wraps around, as it should
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _content(subset: Subset) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return subset.decoded.digests[subset.indices], subset.labels
