"""Steps and a design give rungs: which configurations are trained, and which pairs are compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from orchestrator.ablation.changes import lasting, tested_larger
from orchestrator.ablation.steps import taken_places
from orchestrator.ablation.trick import Means, Trick
from trainer.complexity import count
from trainer.config import ModelConfig, Strict, TrainConfig
from trainer.data.defaults import resized_side
from trainer.errors import ConfigError
from trainer.layer_costs import Complexity

Design: TypeAlias = Literal["cumulative", "leave-one-out", "add-one"]
BASE = "base"
ALL = "all"
LONGER = "longer-training"
WAYS = 3
"""What a step of training costs of the way forward: that, and twice as much back."""
LARGE_BATCH = "large-batch"
"""Tricks that papers' ladders have beside those that can be asked for by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Tricks that come together, and what a paper has changed beside them."""

    name: str
    adds: tuple[Trick, ...] = ()
    over: str | None = None
    """The step that it goes on from; None means the one before."""
    epochs: int | None = None
    """Trained for so many from here on; None means as before."""
    tests_larger: bool = False
    """Tested at 8/7 of the train resolution from here on."""
    test_crop: tuple[int, int] | None = None
    """From here on the first is cut from the second, both in pixels, where the first is the test
    resolution; None means as before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung(Strict):
    """One configuration that is trained, and the one that it is compared with."""

    name: str
    tricks: tuple[str, ...]
    """All that it has, in the order in which they were added."""
    compares: tuple[str, ...] = ()
    """The tricks that the comparison is about: those it adds, or the one it lacks."""
    replaces: tuple[str, ...] = ()
    """Tricks in whose place these come."""
    over: str | None = None
    """The rung it is compared with; None for the one that all begins with."""
    lacks: bool = False
    """It is the one of the pair that has not got the trick."""
    train: TrainConfig

    @property
    def test_resolution(self) -> int:
        """Side of the test images."""
        return self.train.test_resolution or self.train.model.resolution

    @property
    def tested(self) -> ModelConfig:
        """The network as it is tested."""
        return self.train.model.with_(resolution=self.test_resolution)

    @property
    def cost(self) -> Complexity:
        """Of the network as it is tested."""
        return count(self.tested)

    @property
    def train_macs(self) -> int:
        """Of an image in training: as of the network, and for a teacher's look the way forward."""
        train = self.train
        own, augment = count(train.model).macs, train.augment
        still = augment.crop == "none" and augment.policy is None and train.mix is None
        if train.distillation is None or still:  # then a teacher looks at each image but once
            return own
        return own + count(train.distillation.model).macs // WAYS

    @property
    def work(self) -> int:
        """What training it takes, up to a factor."""
        return self.train_macs * self.train.epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A configuration on its way up."""

    train: TrainConfig
    tricks: tuple[Trick, ...] = ()

    def add(self, step: Step, means: Means, *, sides: bool = True) -> Stack:
        """With the step's tricks; `sides` takes what was changed beside them along.

        Raises: ConfigError, naming the trick that the network cannot have.
        """
        train = self.train
        for trick in step.adds:
            train = _switched(trick, train, means)
        if sides:
            train = _beside(train, step)
        return replace(self, train=train, tricks=(*self.tricks, *step.adds))


def rungs_of(
    base: TrainConfig, steps: Sequence[Step], means: Means, design: Design
) -> tuple[tuple[Rung, ...], tuple[str, ...]]:
    """The rungs, the one that others are compared with first, and what is to be said about them.

    The first step is the base, with its name and no tricks. In a ladder a step takes longer
    training or a larger test image along; with one trick left out they are the whole stack's, with
    one trick added the base's, so that the pairs differ in the trick alone.

    Raises: ConfigError.
    """
    match design:
        case "cumulative":
            rungs, notes = tuple(_ladder(base, steps, means)), tuple[str, ...]()
        case "leave-one-out":
            rungs, notes = _left_out(base, steps, means)
        case "add-one":
            rungs, notes = tuple(_added(base, steps, means)), ()
    for rung in rungs:
        _check(rung)
    return rungs, notes


def equally_long(rungs: Iterable[Rung]) -> tuple[Rung, ...]:
    """All rungs trained for as many epochs as the longest."""
    rungs = tuple(rungs)
    longest = max(rung.train.epochs for rung in rungs)
    return tuple(rung.with_(train=lasting(rung.train, longest)) for rung in rungs)


def beside(rung: Rung, over: Rung) -> list[str]:
    """What else sets the two apart, so that no trick is credited with it."""
    said = []
    one, other = rung.train, over.train
    longer = any(name.startswith("epochs-") or name == LONGER for name in rung.compares)
    if one.epochs != other.epochs and not longer:
        said.append(f"{one.epochs} epochs instead of {other.epochs}")
    if rung.test_resolution != over.test_resolution and "test-resolution" not in rung.compares:
        said.append(f"tested at {rung.test_resolution} px instead of {over.test_resolution}")
    elif one.test_crop_fraction != other.test_crop_fraction:
        said.append(f"cut from {_cut_from(one)} instead of {_cut_from(other)}")
    if one.batch_size != other.batch_size and LARGE_BATCH not in rung.compares:
        said.append(f"batches of {one.batch_size} instead of {other.batch_size}")
    return said


def _cut_from(train: TrainConfig) -> str:
    if train.test_crop_fraction is None:
        return "as much as suits the data set"
    return f"{resized_side(train.evaluated_at, train.test_crop_fraction)} px"


def _ladder(base: TrainConfig, steps: Sequence[Step], means: Means) -> Iterator[Rung]:
    stacks: dict[str, Stack] = {}
    before = ""
    for step in steps:
        over = step.over or before
        below = stacks.get(over, Stack(train=base))
        stack = stacks[step.name] = below.add(step, means)
        yield _rung(step.name, stack, compares=step.adds, over=over or None, below=below)
        before = step.name


def _left_out(
    base: TrainConfig, steps: Sequence[Step], means: Means
) -> tuple[tuple[Rung, ...], tuple[str, ...]]:
    steps = _once_each(steps)
    gone = taken_places([trick for step in steps for trick in step.adds])
    notes = [f"{name}: another trick takes its place in the stack" for name in gone]
    whole = _whole(base, steps, means)
    rungs = [_rung(ALL, whole)]
    kept = [
        replace(step, adds=tuple(trick for trick in step.adds if trick.name not in gone))
        for step in steps
    ]
    for number, step in enumerate(kept):
        if not step.adds:
            continue
        without = [*kept[:number], replace(step, adds=()), *kept[number + 1 :]]
        name = f"without {'+'.join(trick.name for trick in step.adds)}"
        stack = _whole(base, without, means)
        rungs.append(_rung(name, stack, compares=step.adds, over=ALL, lacks=True))
    return tuple(rungs), tuple(notes)


def _added(base: TrainConfig, steps: Sequence[Step], means: Means) -> Iterator[Rung]:
    start = Stack(train=base)
    yield _rung(steps[0].name, start)
    for step in _once_each(steps):
        if step.adds:
            stack = start.add(step, means, sides=False)
            name = "+".join(trick.name for trick in step.adds)
            yield _rung(name, stack, compares=step.adds, over=steps[0].name)


def _whole(base: TrainConfig, steps: Iterable[Step], means: Means) -> Stack:
    stack = Stack(train=base)
    for step in steps:
        stack = stack.add(step, means)
    return stack


def _once_each(steps: Sequence[Step]) -> list[Step]:
    """The steps without those that only join tricks which other steps have added already."""
    known: set[str] = set()
    kept = []
    for step in steps:
        new = tuple(trick for trick in step.adds if trick.name not in known)
        known |= {trick.name for trick in new}
        kept.append(replace(step, adds=new))
    return kept


def _switched(trick: Trick, train: TrainConfig, means: Means) -> TrainConfig:
    try:
        return trick.on(train, means)
    except ConfigError as error:
        raise refused(trick, error) from error


def refused(trick: Trick, error: ConfigError) -> ConfigError:
    """The refusal, naming the trick and the setting as users do."""
    said = str(error)
    if said.startswith("tricks: "):
        return error
    return ConfigError(f"tricks: {trick.name}: {_by_setting(said, trick)}")


def _by_setting(said: str, trick: Trick) -> str:
    """A refusal that begins with the field of a training run, in the words of who set it."""
    path = said.split(maxsplit=1)[0].removesuffix(":")
    field = path.rpartition(".")[2]
    for name in trick.reads:
        if name == field or name.endswith(f"_{field}"):
            return said.replace(path, f"settings.{name}", 1)
    return said


def _beside(train: TrainConfig, step: Step) -> TrainConfig:
    if step.epochs is not None:
        train = lasting(train, step.epochs)
    if step.tests_larger:
        train = tested_larger(train)
    if step.test_crop is not None and train.evaluated_at == step.test_crop[0]:
        train = train.with_(test_crop_fraction=step.test_crop[0] / step.test_crop[1])
    return train


def _rung(
    name: str,
    stack: Stack,
    *,
    compares: Sequence[Trick] = (),
    over: str | None = None,
    below: Stack | None = None,
    lacks: bool = False,
) -> Rung:
    gone = set(taken_places(stack.tricks))
    before = set(taken_places(below.tricks)) if below is not None else gone
    return Rung(
        name=name,
        tricks=tuple(trick.name for trick in stack.tricks if trick.name not in gone),
        compares=tuple(trick.name for trick in compares),
        replaces=tuple(t.name for t in stack.tricks if t.name in gone - before),
        over=over,
        lacks=lacks,
        train=stack.train,
    )


def _check(rung: Rung) -> None:
    """Refuse a test resolution that the network cannot see."""
    try:
        _ = rung.tested
    except ConfigError as error:
        said = str(error).removeprefix("model.")
        raise ConfigError(f"{rung.name}: tested at {rung.test_resolution} px: {said}") from error
