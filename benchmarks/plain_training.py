"""The usual way to train the same network: torchvision's model, image files, `DataLoader`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness import seconds
from trainer.config import EfficientNetConfig, TrainConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

THREADS = 2
LOADER_WORKERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What both sides do: the images of the folder, trained on as configured."""

    config: TrainConfig
    images: Path
    cache: Path


def seconds_per_plain_trial(work: Work, *, channels_last: bool) -> float:
    """Wall time of an epoch and its evaluation, with everything loaded and warm before."""
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    trial = _PlainTrial(work, channels_last=channels_last)
    size, side = work.config.batch_size, work.config.model.resolution
    trial.step(torch.randn(size, 3, side, side), torch.zeros(size, dtype=torch.long))
    return seconds(trial.run)


class _PlainTrial:
    """A training script of the usual kind."""

    def __init__(self, work: Work, *, channels_last: bool) -> None:
        import torch

        config = work.config
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._network = plain_network(config).to(memory_format=self._format)
        self._optimizer = torch.optim.SGD(
            self._network.parameters(),
            lr=config.optim.lr,
            momentum=config.optim.momentum,
            weight_decay=config.optim.weight_decay,
            nesterov=True,
        )
        self._train, self._test = _loaders(work)

    def run(self) -> None:
        """Train an epoch, then evaluate."""
        import torch

        self._network.train()
        for images, labels in self._train:
            self.step(images, labels)
        self._network.eval()
        with torch.no_grad():
            for images, labels in self._test:
                logits = self._network(images.to(memory_format=self._format))
                (logits.argmax(1) == labels).sum().item()

    def step(self, images: Tensor, labels: Tensor) -> None:
        """One optimizer step."""
        from torch.nn.functional import cross_entropy

        loss = cross_entropy(self._network(images.to(memory_format=self._format)), labels)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()


def plain_network(config: TrainConfig) -> nn.Module:
    """torchvision's EfficientNet-B0 as configured.

    Its batch norm's epsilon of 1e-5 would let channels of next to no variance, of which maps of one
    pixel have some, amplify the last bits beyond comparing; the published network has 1e-3.
    """
    from torch.nn import BatchNorm2d
    from torchvision.models import efficientnet_b0

    model = config.model
    assert isinstance(model, EfficientNetConfig)
    network: nn.Module = efficientnet_b0(
        num_classes=model.num_classes,
        dropout=model.dropout,
        stochastic_depth_prob=model.stochastic_depth,
        norm_layer=partial(BatchNorm2d, eps=model.norm_eps, momentum=model.norm_momentum),
    )
    return network


def _loaders(work: Work) -> tuple[Any, Any]:
    """Batches of as many training and evaluation images as our side has."""
    from torch.utils.data import DataLoader, Subset
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    side, size = work.config.model.resolution, work.config.batch_size
    plain = [
        transforms.ToTensor(),
        transforms.Normalize((0.491, 0.482, 0.446), (0.248, 0.244, 0.261)),
    ]
    varied = [transforms.RandomCrop(side, side // 8), transforms.RandomHorizontalFlip(), *plain]
    train = ImageFolder(str(work.images / "train"), transforms.Compose(varied))
    test = ImageFolder(str(work.images / "test"), transforms.Compose(plain))
    wanted = work.config.data.train_images
    chosen = Subset(train, [number * len(train) // wanted for number in range(wanted)])
    return (
        DataLoader(chosen, size, shuffle=True, drop_last=True, num_workers=LOADER_WORKERS),
        DataLoader(test, size, num_workers=LOADER_WORKERS),
    )
