"""The first loss of both ways to train, from the same weights and the same image files."""

from __future__ import annotations

from benchmarks.plain_training import THREADS, Work, plain_network
from trainer.config import TrainConfig
from trainer.data.splits import Subset

IMAGES = 128


def first_loss_ours(work: Work) -> float:
    """One step of ours: the decoded cache, channels last, one thread."""
    import torch

    from trainer.data.batches import evaluation_batches
    from trainer.state import TrainingState

    torch.set_num_threads(1)
    config, subset = _certain(work.config), _chosen(work)
    batch = next(
        evaluation_batches(
            subset,
            resolution=config.model.resolution,
            batch_size=IMAGES,
            device="cpu",
            channels_last=True,
        )
    )
    return float(TrainingState(config, device=torch.device("cpu")).step(batch, lr=0.0))


def first_loss_plain(work: Work) -> float:
    """One forward pass of torchvision's network on the files, as PIL decodes them."""
    import torch
    from torch.nn.functional import cross_entropy
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    from trainer.state import TrainingState

    torch.set_num_threads(THREADS)
    config, subset = _certain(work.config), _chosen(work)
    normalise = transforms.Normalize(subset.statistics.mean, subset.statistics.std)
    transform = transforms.Compose([transforms.ToTensor(), normalise])
    files = ImageFolder(str(work.images / "train"), transform)
    items = [files[number] for number in subset.indices.tolist()]
    network = plain_network(config)
    weights = TrainingState(config, device=torch.device("cpu")).model.state_dict()
    network.load_state_dict(weights)
    logits = network.train()(torch.stack([image for image, _ in items]))
    return float(cross_entropy(logits, torch.tensor([label for _, label in items])))


def _certain(config: TrainConfig) -> TrainConfig:
    """Nothing is left to chance but the weights."""
    return config.with_(model=config.model.with_(dropout=0.0, stochastic_depth=0.0))


def _chosen(work: Work) -> Subset:
    """Images of all classes, by their place in the sorted folder."""
    import numpy as np

    from trainer.data.cache import prepare
    from trainer.data.splits import carve

    decoded = prepare(str(work.images), cache_root=work.cache)
    statistics = carve(decoded, work.config.data).train.statistics
    train = decoded.splits["train"]
    places = np.arange(train.start, train.stop, len(train) // IMAGES)[:IMAGES]
    return Subset(decoded=decoded, indices=places, statistics=statistics)
