"""The command line as users have it, its objective replaced by the one that can be sabotaged."""

from __future__ import annotations

import os
import sys
from functools import partial

from orchestrator import __main__
from orchestrator.objectives import table
from orchestrator.runners import ray_pool
from tests.integration.faults import sabotage

if __name__ == "__main__":
    table.OBJECTIVES["train"] = sabotage.train
    if silence := os.environ.get(sabotage.SILENCE):
        patient = partial(ray_pool.RayRunner, silence_seconds=float(silence))
        ray_pool.RayRunner = patient  # type: ignore[assignment, misc]
    sys.exit(__main__.main())
