"""Randomness, threads and kernels: what makes a run repeat to the last digit."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from hashlib import blake2b
from typing import TypeVar

import torch

T = TypeVar("T")

INITIALISATION = 0
"""The `epoch` of the draws that initialise a model; epochs of training count from 1."""


def seed_everything(seed: int, *, epoch: int = INITIALISATION) -> None:
    """Set torch's generators, of every device, to a state that depends on (seed, epoch) alone.

    Called at the start of each epoch, so that dropout and stochastic depth draw the same whether
    or not a run was interrupted before it, and a checkpoint need not hold generator states.
    """
    digest = blake2b(f"network {seed} {epoch}".encode(), digest_size=8).digest()
    torch.manual_seed(int.from_bytes(digest, "little") >> 1)  # neighbours get unrelated streams


def isolated(
    items: Generator[T, None, None], *, threads: int, device: torch.device
) -> Generator[T, None, None]:
    """The same items, computed with generators, threads and kernel choices of their own.

    Between two items the process is as the caller had it: training neither disturbs the caller's
    random numbers nor is disturbed by them, and two runs may take turns in one process.
    """
    generators = _Generators(device)
    with closing(items):
        while True:
            try:
                with own_threads(threads), _repeatable_kernels(), generators.active():
                    item = next(items)
            except StopIteration:
                return
            yield item


class _Generators:
    """The states of torch's generators on the CPU and on the device, while they are not in use."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._states: tuple[torch.Tensor, ...] | None = None

    @contextmanager
    def active(self) -> Iterator[None]:
        """Swap the states in, and out again with what was drawn meanwhile."""
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices, device_type="cuda"):
            if self._states is not None:
                torch.set_rng_state(self._states[0])
                for device, state in zip(devices, self._states[1:], strict=True):
                    torch.cuda.set_rng_state(state, device)
            yield
            self._states = (
                torch.get_rng_state(),
                *(torch.cuda.get_rng_state(device) for device in devices),
            )


@contextmanager
def own_threads(threads: int) -> Iterator[None]:
    """Let torch use so many CPU threads, for the time of the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _repeatable_kernels() -> Iterator[None]:
    """Keep cuDNN from timing its kernels and from the ones whose sums are not repeatable."""
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = before
