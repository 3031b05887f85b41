"""The members of a trained family that stand beside the rungs."""

from __future__ import annotations

from typing import Any

from orchestrator.errors import UsageError
from orchestrator.loading import decode
from orchestrator.stages.ablate.plan import Rival
from orchestrator.stages.finished import damaged, finished
from orchestrator.stages.scale.plan import STAGE as SCALE
from trainer.config import TrainConfig

OPTION = "--beside"


def read_rivals(run_dir: str, fingerprint: str) -> tuple[Rival, ...]:
    """Its trained members. Raises: UsageError, also where it was judged on other images."""
    _, result = finished(run_dir, SCALE, option=OPTION)
    try:
        theirs = result["evidence"]["fingerprint"]
        rivals = tuple(
            _rival(row, result["train"][row["name"]])
            for row in result["results"]
            if row["mean"] is not None
        )
    except (KeyError, TypeError, ValueError, UsageError):
        raise damaged(run_dir, SCALE, option=OPTION) from None
    if theirs != fingerprint:
        raise UsageError(
            f"{OPTION}: {run_dir} was trained and judged on other images; accuracies on different "
            "images do not stand beside each other"
        )
    return rivals


def _rival(row: dict[str, Any], train: dict[str, Any]) -> Rival:
    config = decode(TrainConfig, train)
    low, high = row["interval"]
    return Rival(
        name=row["name"],
        model=config.model.with_(resolution=config.evaluated_at),
        execution=config.execution,
        epochs=config.epochs,
        mean=row["mean"],
        interval=(low, high),
        seeds=tuple(row["seeds"]),
        values=tuple(row["values"]),
    )
