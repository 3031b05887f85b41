"""The end of a network, which a change of resolution unsettles: batch norm, pool, classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from torchvision.models import EfficientNet

from trainer.errors import ConfigError
from trainer.fixres.config import FixResConfig
from trainer.fixres.residual import BeforeNorm, FromNorm
from trainer.models.resnet_parts.block import ResidualBlock

Link = tuple[str, nn.Module]
"""A module and its name within the network; empty for what has no name there."""

AVERAGE, MATCHING = "average", "matching"
"""The parts of a pool that a map was put behind."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LastNorm:
    """The last batch norm before the pool."""

    place: int
    """The link that it is, or that begins with it."""
    name: str
    module: nn.BatchNorm2d

    def inputs(self, values: Tensor) -> Tensor:
        """What it sees of the values (B, channels, H, W) before its link: the first channels."""
        return values[:, : self.module.num_features]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Anatomy:
    """A network as the chain of modules that an image goes through."""

    links: tuple[Link, ...]
    pool: int
    """The place of the average pool among them."""
    classifier: int
    """That of the linear layer after it."""
    norm: LastNorm | None
    """With nothing between it and the pool that learns, or the rest of its residual block."""

    @property
    def cut(self) -> int:
        """Where the part begins that can be tuned; everything before it is frozen."""
        return self.classifier if self.norm is None else self.norm.place

    @property
    def pool_name(self) -> str:
        """What the pool is called within the network, with a map after it or without."""
        return self.links[self.pool][0].removesuffix(f".{AVERAGE}")

    @property
    def cache_cuts(self) -> tuple[int, ...]:
        """Where features may be kept: before what is tuned, else before the frozen 1×1 convolution
        that widens the map just before it, and which costs little to repeat."""
        before = self.links[self.cut - 1][1]
        widens = (
            isinstance(before, nn.Conv2d)
            and before.kernel_size == (1, 1)
            and before.out_channels > before.in_channels
        )
        return (self.cut, self.cut - 1) if widens else (self.cut,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What an adaptation changes in a network."""

    parameters: tuple[str, ...] = ()
    """Trained by gradients."""
    buffers: tuple[str, ...] = ()
    """Estimated."""
    note: str = ""
    """What the user ought to know about it, one line."""

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names in the state dictionary; all others stay as they are, bit by bit."""
        return self.parameters + self.buffers


def dissect(network: nn.Module) -> Anatomy:
    """Find batch norm, pool and classifier of a network.

    Raises: ConfigError for a network that is no chain ending in a pool and a linear layer.
    """
    links = _opened(tuple(_chain(network, "")))
    pool = _last(links, nn.AdaptiveAvgPool2d)
    classifier = _last(links, nn.Linear)
    if pool is None or classifier is None or classifier < pool:
        raise ConfigError(
            f"a {type(network).__name__} cannot be adapted to a test resolution: it does not end "
            "in an average pool and a linear classifier"
        )
    return Anatomy(links=links, pool=pool, classifier=classifier, norm=_norm_before(links, pool))


def run(links: Sequence[Link], values: Tensor) -> Tensor:
    """What a part of the chain makes of these values."""
    for _, module in links:
        values = module(values)
    return values


def tuned_part(anatomy: Anatomy, config: FixResConfig) -> Tuned:
    """What the configured adaptation changes in this network."""
    match config.adaptation:
        case "none":
            return Tuned()
        case "parametric":
            name = f"{anatomy.pool_name}.{MATCHING}"
            return Tuned(buffers=(f"{name}.scale", f"{name}.shift"))
        case "statistics":
            if anatomy.norm is None:
                return Tuned(note="no batch norm before the pool: nothing is re-estimated")
            return Tuned(buffers=_statistics(anatomy.norm.name))
        case "finetune":
            return _finetuned(anatomy, affine=config.affine)


def _finetuned(anatomy: Anatomy, *, affine: bool) -> Tuned:
    name, classifier = anatomy.links[anatomy.classifier]
    weights = tuple(f"{name}.{parameter}" for parameter, _ in classifier.named_parameters())
    if anatomy.norm is None:
        return Tuned(
            parameters=weights,
            note="no batch norm before the pool: the classifier alone is fine-tuned",
        )
    norm = anatomy.norm.name
    if affine:
        weights = (f"{norm}.weight", f"{norm}.bias", *weights)
    return Tuned(parameters=weights, buffers=(*_statistics(norm), f"{norm}.num_batches_tracked"))


def _statistics(norm: str) -> tuple[str, str]:
    return (f"{norm}.running_mean", f"{norm}.running_var")


def _chain(module: nn.Module, name: str) -> Iterator[Link]:
    """The modules that run one after the other, as far down as nothing else happens in between."""
    if isinstance(module, EfficientNet):
        yield from _chain(module.features, "features")
        yield from _chain(module.avgpool, "avgpool")
        yield "", nn.Flatten()  # torchvision does it between the two
        yield from _chain(module.classifier, "classifier")
    elif type(module).forward is nn.Sequential.forward:
        for child, part in module.named_children():
            yield from _chain(part, f"{name}.{child}" if name else child)
    else:
        yield name, module


def _last(links: Sequence[Link], kind: type[nn.Module]) -> int | None:
    places = [place for place, (_, module) in enumerate(links) if isinstance(module, kind)]
    return places[-1] if places else None


def _opened(links: tuple[Link, ...]) -> tuple[Link, ...]:
    """The last residual block cut in two, before the batch norm of its branch."""
    blocks = [place for place, (_, module) in enumerate(links) if isinstance(module, ResidualBlock)]
    if not blocks:
        return links
    name, block = links[blocks[-1]]
    assert isinstance(block, ResidualBlock)
    parts = (("", BeforeNorm(block)), (name, FromNorm(block)))
    return (*links[: blocks[-1]], *parts, *links[blocks[-1] + 1 :])


def _norm_before(links: Sequence[Link], pool: int) -> LastNorm | None:
    for place in range(pool - 1, -1, -1):
        name, module = links[place]
        if isinstance(module, nn.BatchNorm2d):
            return LastNorm(place=place, name=name, module=module)
        if isinstance(module, FromNorm):
            norm = f"{name}.branch.{module.norm_name}"
            return LastNorm(place=place, name=norm, module=module.norm)
        if module.state_dict():  # it learns: a batch norm before it does not feed the pool
            return None
    return None
