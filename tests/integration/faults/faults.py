"""Every fault by name: what the tests and the table run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

from tests.integration.faults import in_a_worker, on_the_controller, on_the_disk
from tests.integration.faults.evidence import Outcome, Whole
from tests.integration.faults.runs import Place

Fault: TypeAlias = Callable[[Place, Whole], Outcome]

FAULTS: Mapping[str, Fault] = {
    "controller-killed": partial(on_the_controller.killed, kills=20),
    "worker-killed": in_a_worker.killed,
    "poison": in_a_worker.poisoned,
    "hung": in_a_worker.hung,
    "nan": in_a_worker.diverged,
    "nan-everywhere": in_a_worker.all_diverged,
    "out-of-memory": in_a_worker.out_of_memory,
    "disk-full-checkpoint": on_the_disk.full_for_checkpoints,
    "disk-full-journal": on_the_disk.full_for_the_journal,
    "disk-full-cache": on_the_disk.full_for_the_cache,
    "journal-damaged": on_the_disk.journal_torn_and_damaged,
    "checkpoint-damaged": on_the_disk.checkpoint_damaged,
    "two-controllers": on_the_controller.two_at_once,
    "sigterm": on_the_controller.terminated,
    "ctrl-c": on_the_controller.ctrl_c,
    "mirror-killed": on_the_controller.mirror_killed,
}
