"""Each command as a function with the same options, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.config import SearchScalingConfig
from orchestrator.loading import load
from orchestrator.reporting.live import Silent, Watcher
from orchestrator.run_dir import RunDir


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """What a stage found, or with `dry_run` what it would try."""

    run_dir: Path | None
    """None for a dry run, which leaves nothing behind."""
    document: Mapping[str, Any] = field(repr=False)
    """What `--json` prints and `result.json` holds."""

    def __getitem__(self, key: str) -> Any:
        return self.document[key]

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return dict(self.document)


def search_scaling(
    config: SearchScalingConfig | None = None,
    *,
    dry_run: bool = False,
    watcher: Watcher | None = None,
    **options: Any,
) -> StageResult:
    """Search α, β, γ under a budget: `search_scaling(dataset="photos", flops_budget="2x")`.

    Options are those of the command line with underscores.

    Raises: UsageError, ConfigError, DatasetError before training; StageFailed, NotReady,
        Interrupted later; the same run directory continues after the last two.
    """
    from orchestrator.stages.scaling_run import dry, run

    watcher = watcher or Silent()
    asked = load(SearchScalingConfig, options=options) if config is None else config
    if dry_run:
        return StageResult(run_dir=None, document=dry(asked, watcher=watcher))
    run_dir = RunDir(Path(asked.placed("search-scaling")).absolute())
    document = run(asked, run_dir=run_dir, watcher=watcher)
    return StageResult(run_dir=run_dir.root, document=document)
