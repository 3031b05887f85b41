"""Where a run is mirrored to, and how such an address may be shown."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.errors import UsageError
from orchestrator.run_dir import RunDir
from trainer.errors import unknown_value

SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "file", "databricks")
_USER_INFO = re.compile(r"(?<=://)(?:([^/\s:@]*):)?[^/\s]*@")
_SECRET_FIELD = re.compile(
    r"([?&;](?:password|passwd|pwd|token|secret|api_?key|access_?key|sig)=)[^&;\s'\"]*",
    re.IGNORECASE,
)


def tracking_uri(
    run_dir: RunDir, given: str | None, *, environment: Mapping[str, str] = os.environ
) -> str:
    """The address to write to: the option, now or when the run was started, else the environment's
    `MLFLOW_TRACKING_URI`, else a database beside the run.

    Raises:
        UsageError: an address that MLflow has no store for.
    """
    if asked_for := given or _asked_for(run_dir):
        return _checked(asked_for, said_by="--tracking-uri")
    if from_environment := environment.get("MLFLOW_TRACKING_URI"):
        return _checked(from_environment, said_by="MLFLOW_TRACKING_URI")
    return f"sqlite:///{run_dir.root.resolve().parent / 'mlflow.db'}"


def masked(text: str) -> str:
    """The text with the passwords and tokens of every address in it replaced by `***`."""
    without = _USER_INFO.sub(lambda m: f"{m[1]}:***@" if m[1] is not None else "***@", text)
    return _SECRET_FIELD.sub(r"\1***", without)


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite address; None for every other store."""
    scheme, _, rest = uri.partition(":///")
    if not scheme.startswith("sqlite"):
        return None
    return Path(rest.partition("?")[0]).absolute()


def artifact_root(uri: str, run_dir: RunDir) -> str | None:
    """Where a new experiment keeps its files: beside the database; None where a server decides."""
    if urlsplit(uri).scheme in ("http", "https", "databricks"):
        return None
    database = sqlite_file(uri)
    folder = database.parent if database else run_dir.root.resolve().parent
    return (folder / "mlartifacts").as_uri()


def _asked_for(run_dir: RunDir) -> str | None:
    try:
        uri = json.loads(run_dir.description.read_text(encoding="utf-8"))["config"]["tracking_uri"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    # Of an address with a password only the masked form is kept, and nothing can be sent to that.
    return uri if isinstance(uri, str) and "***" not in masked(uri) else None


def _checked(uri: str, *, said_by: str) -> str:
    scheme, separator, _ = uri.partition(":")
    if not separator:  # a folder, or the bare word `databricks`
        return uri
    known = {*SCHEMES, *(point.name for point in entry_points(group="mlflow.tracking_store"))}
    if scheme.partition("+")[0] not in known:
        # Only the scheme is shown: the rest may hold a password.
        raise UsageError(str(unknown_value(f"{said_by} (scheme)", scheme, sorted(known))))
    return uri
