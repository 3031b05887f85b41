"""What the search for a policy adds to the training of its children."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.data import unpacked
from benchmarks.harness import Row, in_fresh_process, in_turn, scratch, seconds
from trainer.config import DataConfig, TrainConfig
from trainer.models.children import child

CHILD_SECONDS = 10.0
WORKERS = 2
SHARE = 0.01
"""Of the wall time that the controller may take."""
JUDGES = {"density-matching": "wrn-40-2", "density-matching-small-child": "wrn-10-0.5"}
"""Row -> the network that scores policies: the papers', and the default on a CPU."""


def measure(quick: bool) -> Iterator[Row]:
    """The controller's own time, and a scoring pass against the same pass without a policy."""
    yield _controller(children=20 if quick else 200)
    with scratch() as folder:
        images = unpacked("cifar10", into=folder)
        for name, judge in JUDGES.items():
            plain, scored = in_fresh_process(
                passes,
                images,
                folder / "cache",
                judge,
                train_images=100 if quick else 1000,
                rounds=1 if quick else 5,
            )
            yield Row(
                name=name,
                ours=scored,
                peer=plain,
                peer_name="the same images without a policy",
                unit=f"s a pass of {judge}",
                goal=1 / 1.3,
                bound="a network that takes less time for an image than its augmentation does",
            )


def _controller(*, children: int) -> Row:
    per_child = in_fresh_process(controller_seconds, children) / children
    return Row(
        name="autoaugment-controller",
        ours=per_child,
        peer=SHARE * CHILD_SECONDS / WORKERS,
        peer_name=f"1 % of the wall time of children of {CHILD_SECONDS:g} s on {WORKERS} workers",
        unit="s a child, sampling and updates",
        goal=1.0,
        bound="thirty steps of an LSTM, forwards and backwards, four times an update",
    )


def controller_seconds(children: int) -> float:
    """A whole search with rewards from nowhere, imports not counted."""
    from random import Random

    from orchestrator.searchers.autoaugment import AutoAugmentSettings, for_budget, propose
    from orchestrator.searchers.observation import Observation
    from search_spaces.augmentation import Decisions, DiscreteSpace

    space = DiscreteSpace()

    def search(count: int, seed: int) -> None:
        settings = for_budget(count, AutoAugmentSettings())
        observed: list[Observation[Decisions]] = []
        while len(observed) < count:
            batch = propose(observed, count=count, seed=seed, space=space, settings=settings)
            rewards = (Random(str(decisions)).random() for decisions in batch)
            pairs = zip(batch, rewards, strict=True)
            observed += [Observation(decisions=d, reward=r) for d, r in pairs]

    search(10, 1)
    return seconds(partial(search, children, 0))


def passes(
    images: Path, cache: Path, judge: str, *, train_images: int, rounds: int
) -> tuple[float, float]:
    """Median seconds of an inference pass over held-out images, plain and augmented."""
    import torch

    from trainer.augment.presets import autoaugment_cifar10
    from trainer.data.batches import evaluation_batches
    from trainer.data.cache import prepare
    from trainer.data.splits import carve
    from trainer.density import density_scores
    from trainer.evaluate import evaluate
    from trainer.models.build import build

    torch.set_num_threads(1)
    config = TrainConfig(
        model=child(judge, num_classes=10, resolution=32),
        data=DataConfig(dataset=str(images), train_images=train_images),
    )
    subset = carve(prepare(str(images), cache_root=cache), config.data).train
    model = build(config.model).to(memory_format=torch.channels_last)
    device = torch.device("cpu")

    def plain() -> None:
        batches = evaluation_batches(
            subset,
            resolution=32,
            batch_size=config.batch_size,
            device=device,
            channels_last=True,
        )
        evaluate(model, batches, num_classes=10)

    def scored() -> None:
        policy = autoaugment_cifar10()
        density_scores(model, subset, policy, config=config, draws=1, device=device)

    work: dict[str, Callable[[], None]] = {"plain": plain, "scored": scored}
    for run in work.values():
        run()  # the first time allocates and fills caches
    times = in_turn({name: partial(seconds, run) for name, run in work.items()}, rounds=rounds)
    return median(times["plain"]), median(times["scored"])
