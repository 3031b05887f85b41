"""Which runner a configuration asks for."""

from __future__ import annotations

from orchestrator.config.common import CommonConfig
from orchestrator.interrupts import Interrupts
from orchestrator.objectives.table import OBJECTIVES
from orchestrator.run_dir import RunDir
from orchestrator.runners.base import Objectives, Runner
from orchestrator.session import RunnerFactory
from orchestrator.trial import Bundle


def runner_factory(
    config: CommonConfig, bundle: Bundle, *, objectives: Objectives = OBJECTIVES
) -> RunnerFactory:
    """How to start the runner, once it is known that there is something to run."""

    def start(run_dir: RunDir, interrupts: Interrupts) -> Runner:
        if config.runner == "inline":
            from orchestrator.runners.inline import InlineRunner

            return InlineRunner(objectives, lambda: bool(interrupts))
        from orchestrator.runners.ray_pool import RayRunner

        return RayRunner(
            objectives,
            workers=config.workers,
            bundle=bundle,
            address=config.ray_address,
            log_dir=run_dir.logs,
        )

    return start
