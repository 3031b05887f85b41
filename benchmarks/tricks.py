"""The price of the tricks: a teacher whose answers are kept, and the parts of residual networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.data import unpacked
from benchmarks.harness import Row, Skipped, in_fresh_process, in_turn, scratch, seconds

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from trainer.config import ModelConfig, TrainConfig

CLASSES = 10
DEARER = 1.05
"""What an epoch with kept answers may take, of one without a teacher."""
AS_FAST = 0.97
"""Of timm's speed: what the noise of this measurement leaves of 1."""
OVERHEAD = 1.15
"""What a trick may take, of what its multiplications foretell."""

TIMM = "timm resnet50d, same layout, precision and optimizer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much is done."""

    side: int
    """Of the images that residual networks see."""
    batch: int
    rounds: int
    train_images: int
    """Of the students."""
    epochs: int


WHOLE = Amount(side=224, batch=8, rounds=7, train_images=2_560, epochs=4)
ON_GPU = Amount(side=224, batch=128, rounds=30, train_images=2_560, epochs=4)
LITTLE = Amount(side=64, batch=2, rounds=1, train_images=128, epochs=2)


def measure(quick: bool) -> Iterator[Row]:
    """Students on CIFAR-10; residual networks on noise, on the GPU if there is one."""
    with scratch() as folder:
        images = unpacked("cifar10", into=folder)
        epochs = in_fresh_process(epoch_seconds, images, folder / "cache", quick=quick)
    yield Row(
        name="distillation-kept-answers",
        ours=epochs["taught"],
        peer=epochs["alone"],
        peer_name="the same epoch without a teacher",
        unit="s an epoch",
        goal=1 / DEARER,
        beside={"asking in advance, s": epochs["asking"]},
        bound="the softmax of the answers, and the second loss",
    )
    yield from _network_rows(in_fresh_process(network_seconds, quick=quick))


def _network_rows(found: Mapping[str, Mapping[str, float]]) -> Iterator[Row]:
    plain, peer = found["resnet-50-d"], found["timm"]
    for what, unit in (("step", "s a training step"), ("inference", "s a batch")):
        yield Row(
            name=f"resnet-50-d-{what}",
            ours=plain[what],
            peer=peer[what],
            peer_name=TIMM,
            unit=unit,
            goal=AS_FAST,
            bound="the same convolutions: what is left is averages, norms and the optimizer",
        )
    for name in ("sk", "big-little"):
        trick = found[name]
        yield Row(
            name=f"{name}-inference-for-its-macs",
            ours=trick["inference"] / plain["inference"],
            peer=trick["macs"] / plain["macs"],
            peer_name="multiplications of resnet-50-d",
            unit="times resnet-50-d",
            goal=1 / OVERHEAD,
            beside={"in training": trick["step"] / plain["step"]},
            bound="memory traffic: sums and softmaxes of maps multiply little",
        )


def epoch_seconds(images: Path, cache: Path, *, quick: bool) -> dict[str, float]:
    """Median seconds of training for an epoch, with a teacher and without, and of asking it."""
    import torch

    from trainer.config import EpochReport
    from trainer.data.cache import prepare
    from trainer.data.splits import carve
    from trainer.distillation import KeptAnswers, Teacher
    from trainer.fit import fit
    from trainer.models.build import build
    from trainer.transfer import digest_of

    torch.set_num_threads(1)
    torch.manual_seed(0)
    amount = LITTLE if quick else WHOLE
    alone, distillation = _student(images, amount)
    weights = build(distillation.model).state_dict()
    told = alone.with_(distillation=distillation.with_(digest=digest_of(weights)))
    splits = carve(prepare(str(images), cache_root=cache), alone.data)

    def epochs(config: TrainConfig) -> list[float]:
        items = fit(config, splits, teacher=weights)
        speeds = [item.images_per_second for item in items if isinstance(item, EpochReport)]
        return [len(splits.train) / speed for speed in speeds[1:]]  # the first one warms up

    times = in_turn(
        {"alone": partial(epochs, alone), "taught": partial(epochs, told)},
        rounds=1 if quick else 3,
    )
    cpu = torch.device("cpu")
    teacher = Teacher(distillation, weights, execution=told.execution, device=cpu)
    kept = KeptAnswers(told, splits.train, teacher)
    found = {name: median(chain.from_iterable(rounds)) for name, rounds in times.items()}
    return {**found, "asking": seconds(lambda: list(kept.ask(cpu)))}


def _student(images: Path, amount: Amount) -> tuple[TrainConfig, Any]:
    """A training whose images always look the same but for the mirror, and a larger teacher."""
    from trainer.config import AugmentConfig, DataConfig, DistillationConfig, TrainConfig
    from trainer.models.baselines import baseline

    network = partial(baseline, "efficientnet-b0-small", num_classes=CLASSES, resolution=32)
    config = TrainConfig(
        model=network(width="0.5"),
        data=DataConfig(dataset=str(images), train_images=amount.train_images),
        augment=AugmentConfig(crop="none"),
        epochs=amount.epochs,
        batch_size=64,
    )
    return config, DistillationConfig(digest="unknown", model=network(), temperature=2.0)


def network_seconds(*, quick: bool) -> dict[str, dict[str, float]]:
    """Median seconds of a training step and of an inference, by network; and their MACs."""
    import torch

    from trainer.complexity import count

    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    whole = ON_GPU if device.type == "cuda" else WHOLE
    amount = LITTLE if quick else whole
    configs = _networks(amount)
    sides: dict[str, _Ours | _Timm] = {
        name: _Ours(config, amount, device) for name, config in configs.items()
    }
    sides["timm"] = _Timm(amount, device)
    work: dict[str, Callable[[], float]] = {}
    for name, side in sides.items():
        for what, run in (("step", side.step), ("inference", side.infer)):
            run()  # allocates, and chooses kernels
            work[f"{name} {what}"] = partial(seconds, run)
    times = in_turn(work, rounds=amount.rounds)
    found: dict[str, dict[str, float]] = {
        name: {"macs": float(count(config).macs)} for name, config in configs.items()
    }
    for label, values in times.items():
        name, what = label.rsplit(" ", 1)
        found.setdefault(name, {})[what] = median(values)
    return found


def _networks(amount: Amount) -> dict[str, ModelConfig]:
    from trainer.models.resnets import named_resnet
    from trainer.resnet_config import BigLittle

    plain = named_resnet("resnet-50-d", num_classes=CLASSES, resolution=amount.side)
    return {
        "resnet-50-d": plain,
        "sk": plain.with_(attention="sk"),
        "big-little": plain.with_(big_little=BigLittle()),
    }


class _Ours:
    """A step and an inference as training and evaluation take them."""

    def __init__(self, model: ModelConfig, amount: Amount, device: torch.device) -> None:
        from trainer.config import TrainConfig
        from trainer.data.batches import Batch
        from trainer.precision import execution_for
        from trainer.state import TrainingState

        self._config = TrainConfig(
            model=model,
            batch_size=amount.batch,
            execution=execution_for("resnet", device.type),
        )
        images, labels = _noise(amount, device)
        self._batch = Batch(images=images, labels=labels)
        self._state = TrainingState(self._config, device=device)

    def step(self) -> None:
        """One optimizer step, by kernels that repeat exactly."""
        import torch

        torch.backends.cudnn.deterministic = True
        self._state.train()
        self._state.step(self._batch, lr=1e-4).item()
        torch.backends.cudnn.deterministic = False

    def infer(self) -> None:
        """Logits of a batch."""
        from trainer.evaluate import evaluating, predict

        with evaluating(self._state.model):
            images, execution = self._batch.images, self._config.execution
            predict(self._state.model, images, execution=execution).sum().item()


class _Timm:
    """The same by a script of the usual kind."""

    def __init__(self, amount: Amount, device: torch.device) -> None:
        import torch

        try:
            import timm
        except ModuleNotFoundError:
            raise Skipped("timm is not installed") from None
        from trainer.precision import execution_for

        self._execution = execution_for("resnet", device.type)
        network: nn.Module = timm.create_model("resnet50d", num_classes=CLASSES)
        self._network = network.to(device).to(memory_format=torch.channels_last)
        self._images, self._labels = _noise(amount, device)
        self._optimizer = torch.optim.SGD(
            self._network.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4, nesterov=True
        )

    def step(self) -> None:
        """One optimizer step."""
        from torch.nn.functional import cross_entropy

        from trainer.precision import autocast

        self._network.train()
        with autocast(self._execution, self._images.device):
            loss = cross_entropy(self._network(self._images).float(), self._labels)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        loss.item()

    def infer(self) -> None:
        """Logits of a batch."""
        import torch

        from trainer.precision import autocast

        self._network.eval()
        with torch.inference_mode(), autocast(self._execution, self._images.device):
            self._network(self._images).float().sum().item()


def _noise(amount: Amount, device: torch.device) -> tuple[Tensor, Tensor]:
    import torch

    images = torch.randn(amount.batch, 3, amount.side, amount.side, device=device)
    labels = torch.arange(amount.batch, device=device) % CLASSES
    return images.to(memory_format=torch.channels_last), labels
