"""What an MLflow store holds, read with MLflow's own client."""

from __future__ import annotations

from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

EXPERIMENT = "orchestrator"


def runs(uri: str) -> list[Run]:
    """Every run that is not deleted."""
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return []
    return list(client.search_runs([experiment.experiment_id], max_results=5000))


def content(uri: str) -> list[dict[str, Any]]:
    """Every run with all of its points and files, sorted, without the names MLflow gave them."""
    found = runs(uri)
    names = {run.info.run_id: run.info.run_name for run in found}
    return sorted((_content(uri, run, names) for run in found), key=str)


def _content(uri: str, run: Run, names: dict[str, str]) -> dict[str, Any]:
    client = MlflowClient(tracking_uri=uri)
    tags = {name: text for name, text in run.data.tags.items() if not name.startswith("mlflow.")}
    return {
        "name": run.info.run_name,
        "parent": names.get(run.data.tags.get("mlflow.parentRunId", "")),
        "status": run.info.status,
        "times": (run.info.start_time, run.info.end_time),
        "params": dict(run.data.params),
        "tags": tags,
        "points": sorted(
            (metric.key, metric.step, metric.value, metric.timestamp)
            for name in run.data.metrics
            for metric in client.get_metric_history(run.info.run_id, name)
        ),
        "files": sorted(_files(client, run.info.run_id)),
    }


def _files(client: MlflowClient, run_id: str, folder: str | None = None) -> list[str]:
    names = []
    for file in client.list_artifacts(run_id, folder):
        names += _files(client, run_id, file.path) if file.is_dir else [file.path]
    return names
