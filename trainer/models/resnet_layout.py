"""The blocks of a residual network, for those who build and those who count. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from trainer.resnet_config import BigLittle, ResNetConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A convolution with its batch norm."""

    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    """The convolution's own."""
    blurs: bool = False
    """A blur of stride 2 follows, after the ReLU."""
    selects: bool = False
    """Is made of selective kernels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A shortcut and a residual branch."""

    stage: int
    """From 1."""
    place: int
    """From 1, among all blocks of the network."""
    inputs: int
    width: int
    """Inner channels."""
    outputs: int
    stride: int = 1
    projects: bool = False
    """The shortcut is a convolution, not the input itself."""
    activates: bool = True
    """A ReLU follows the sum."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainStage:
    """One block after the other."""

    blocks: tuple[Block, ...]

    def __iter__(self) -> Iterator[Block]:
        return iter(self.blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class BigLittleStage:
    """Two branches, their sum, and a block that merges it."""

    big: tuple[Block, ...]
    """On half the resolution."""
    little: tuple[Block, ...]
    """On the whole."""
    merge: Block

    def __iter__(self) -> Iterator[Block]:
        return iter((*self.big, *self.little, self.merge))

    @property
    def widening(self) -> Unit:
        """The 1×1 convolution that gives the little branch the big one's channels."""
        return Unit(inputs=self.little[-1].outputs, outputs=self.merge.inputs, kernel=1)


Stage = PlainStage | BigLittleStage


def stages_of(config: ResNetConfig) -> tuple[Stage, ...]:
    """The stages in the order that an image goes through them."""
    places = count(1)
    inputs = config.stem_channels
    stages: list[Stage] = []
    for number, stride in enumerate(config.strides, start=1):
        shape = _Shape(
            stage=number,
            inputs=inputs,
            width=config.channels[number - 1],
            expansion=config.expansion,
            places=places,
        )
        repeats = config.repeats[number - 1]
        if config.big_little is None or number == len(config.repeats):
            always = config.big_little is not None
            blocks = shape.run(repeats, stride=stride, always_projects=always)
            stages.append(PlainStage(blocks=blocks))
        else:
            stages.append(_two_branches(shape, repeats, stride, config.big_little))
        inputs = shape.outputs
    return tuple(stages)


def units_of(block: Block, config: ResNetConfig) -> tuple[Unit, ...]:
    """The convolutions of a block's residual branch."""
    blurs = config.blur != "none" and block.stride > 1
    own = 1 if blurs else block.stride
    selects = config.attention == "sk"
    inputs, width, outputs = block.inputs, block.width, block.outputs
    if config.block == "basic":
        return (
            Unit(inputs=inputs, outputs=width, kernel=3, stride=own, blurs=blurs, selects=selects),
            Unit(inputs=width, outputs=outputs, kernel=3),  # no ReLU follows: nothing is selected
        )
    early = config.stride_at == "first-1x1"
    return (
        Unit(
            inputs=inputs,
            outputs=width,
            kernel=1,
            stride=own if early else 1,
            blurs=blurs and early,
        ),
        Unit(
            inputs=width,
            outputs=width,
            kernel=3,
            stride=1 if early else own,
            blurs=blurs and not early,
            selects=selects,
        ),
        Unit(inputs=width, outputs=outputs, kernel=1),
    )


def stem_units(config: ResNetConfig) -> tuple[Unit, ...]:
    """The convolutions before the pool of the stem."""
    channels, stride = config.stem_channels, 2 if config.stem == "imagenet" else 1
    if config.deep_stem:
        half = channels // 2
        return (
            Unit(inputs=3, outputs=half, kernel=3, stride=stride),
            Unit(inputs=half, outputs=half, kernel=3),
            Unit(inputs=half, outputs=channels, kernel=3),
        )
    kernel = 7 if config.stem == "imagenet" else 3
    return (Unit(inputs=3, outputs=channels, kernel=kernel, stride=stride),)


@dataclass(frozen=True, slots=True, kw_only=True)
class StemBranches:
    """What Big-Little has in place of the max pool."""

    big: Unit
    little: tuple[Unit, ...]
    merge: Unit


def stem_branches(channels: int, branches: BigLittle) -> StemBranches:
    """Two branches of stride 2, whose sum is merged by a 1×1 convolution."""
    thin = channels // branches.alpha
    return StemBranches(
        big=Unit(inputs=channels, outputs=channels, kernel=3, stride=2),
        little=(
            Unit(inputs=channels, outputs=thin, kernel=3),
            Unit(inputs=thin, outputs=thin, kernel=3, stride=2),
            Unit(inputs=thin, outputs=channels, kernel=1),
        ),
        merge=Unit(inputs=channels, outputs=channels, kernel=1),
    )


def squeezed_se(channels: int, config: ResNetConfig) -> int:
    """Squeezed channels of squeeze-and-excitation; 8 at least, lest narrow networks keep one."""
    return max(8, channels // config.se_ratio)


def squeezed_sk(channels: int, config: ResNetConfig) -> int:
    """Squeezed channels of selective kernels with so many channels a path."""
    return max(config.sk_minimum, channels // config.sk_ratio)


def smallest_side(config: ResNetConfig, stage: int) -> int:
    """Side in pixels of the smallest map in a stage counted from 1."""
    side = -(-config.resolution // config.stem_stride)
    for stride in config.strides[: stage - 1]:
        side = -(-side // stride)
    halved = config.big_little is not None or config.strides[stage - 1] > 1
    return -(-side // 2) if halved else side


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """What the blocks of a stage share."""

    stage: int
    inputs: int
    width: int
    expansion: int
    places: Iterator[int]

    @property
    def outputs(self) -> int:
        return self.width * self.expansion

    def run(
        self,
        repeats: int,
        *,
        stride: int,
        always_projects: bool = False,
        last_activates: bool = True,
    ) -> tuple[Block, ...]:
        """So many blocks, of which the first has the stride and the channel change."""
        first = always_projects or stride > 1 or self.inputs != self.outputs
        return tuple(
            Block(
                stage=self.stage,
                place=next(self.places),
                inputs=self.outputs if i else self.inputs,
                width=self.width,
                outputs=self.outputs,
                stride=1 if i else stride,
                projects=first and i == 0,
                activates=last_activates or i < repeats - 1,
            )
            for i in range(repeats)
        )

    def with_(self, *, inputs: int | None = None, width: int | None = None) -> _Shape:
        return _Shape(
            stage=self.stage,
            inputs=self.inputs if inputs is None else inputs,
            width=self.width if width is None else width,
            expansion=self.expansion,
            places=self.places,
        )


def _two_branches(shape: _Shape, repeats: int, stride: int, branches: BigLittle) -> BigLittleStage:
    """A stage of Assemble-ResNet's code, where the first block of each run projects in any case."""
    thin = shape.with_(width=shape.width // branches.alpha)
    big = shape.run(repeats - 1, stride=2, always_projects=True, last_activates=False)
    little = thin.run(branches.little_repeats(repeats), stride=1, always_projects=True)
    merging = shape.with_(inputs=shape.outputs)
    (merge,) = merging.run(1, stride=stride, always_projects=True)
    return BigLittleStage(big=big, little=little, merge=merge)
