import os
import subprocess
import sys

import pytest
import torch

from tests.trainer.factories import tiny_model, tiny_run, tiny_teacher
from trainer.config import InitialWeights, OptimConfig, TrainConfig
from trainer.memory import training_bytes
from trainer.models.build import build
from trainer.models.children import child

REAL = """
import sys, torch
from trainer.config import TrainConfig
from trainer.data.batches import Batch
from trainer.models.children import child
from trainer.state import TrainingState

name, side, images = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model = child(name, num_classes=10, resolution=side)
state = TrainingState(TrainConfig(model=model, batch_size=images), device=torch.device("cpu"))
torch.set_num_threads(1)

def step(count):
    pixels = torch.randn(count, 3, side, side).to(memory_format=torch.channels_last)
    state.step(Batch(images=pixels, labels=torch.zeros(count, dtype=torch.long)), lr=0.0)

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024

step(2)
open("/proc/self/clear_refs", "w").write("5")  # the peak counts from here
before = peak()
step(images)
print(peak() - before)
"""

PRECISE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
"""Every map in pages of its own: a heap keeps gaps, by chance up to a quarter of what is measured.
"""


@pytest.mark.parametrize(
    ("name", "side", "images"), [("efficientnet-b0", 96, 32), ("wrn-40-2", 32, 48)]
)
def test_a_step_takes_what_was_foretold(name: str, side: int, images: int) -> None:
    command = [sys.executable, "-c", REAL, name, str(side), str(images)]
    environment = {**os.environ, **PRECISE}
    measured = int(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)
    config = TrainConfig(model=child(name, num_classes=10, resolution=side), batch_size=images)
    grown = training_bytes(config) - training_bytes(config, images=2)
    assert 0.9 * grown < measured < 1.1 * grown


def test_memory_grows_with_the_micro_batch_and_with_what_is_kept_for_each_weight() -> None:
    config = tiny_run(accumulate=1, ema_decay=0.0)
    weights = [*build(config.model).parameters(), *build(config.model).buffers()]
    tensors = 4 * sum(tensor.numel() for tensor in weights)
    learned = 4 * sum(p.numel() for p in build(config.model).parameters())
    whole = training_bytes(config)
    assert training_bytes(config.with_(accumulate=2)) == training_bytes(config, images=8)
    per_image = (whole - training_bytes(config, images=8)) // 8
    assert whole == per_image * 16 + tensors + 2 * learned
    assert training_bytes(config.with_(ema_decay=0.9)) - whole == tensors
    heavier = config.with_(optim=OptimConfig(optimizer="rmsprop"))
    assert training_bytes(heavier) - whole == learned


def test_what_is_frozen_keeps_nothing_for_the_way_back() -> None:
    config = tiny_run(model=tiny_model(dropout=0.0, stochastic_depth=0.0))
    frozen = config.with_(initial=InitialWeights(digest="x", frozen=4))
    assert training_bytes(frozen) < 0.5 * training_bytes(config)


def test_a_teacher_takes_its_weights() -> None:
    distillation, weights = tiny_teacher()
    network = build(distillation.model)
    tensors = 4 * sum(t.numel() for t in (*network.parameters(), *network.buffers()))
    assert training_bytes(tiny_run(distillation=distillation)) - training_bytes(tiny_run()) == (
        tensors
    )
    assert tensors > 4 * sum(len(t.flatten()) for n, t in weights.items() if n.endswith("weight"))


def test_half_precision_takes_less() -> None:
    config = tiny_run(model=child("efficientnet-b0", num_classes=10, resolution=64))
    half = config.with_(execution=config.execution.with_(precision="bf16"))
    assert training_bytes(half, images=64) < 0.8 * training_bytes(config, images=64)


def test_looking_draws_nothing() -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    training_bytes(tiny_run())
    assert torch.equal(before, torch.random.get_rng_state())
