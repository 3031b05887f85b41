"""`orchestrator` and `python -m orchestrator`: errors of the user's on one line, and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import fields

import click

from orchestrator.cli.commands import cli
from orchestrator.errors import OrchestratorError
from orchestrator.interrupts import Terminated, terminable
from trainer.errors import ConfigError, DatasetError, DiskFull, TrainerError, is_disk_full

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "MLFLOW_DISABLE_TELEMETRY": "true"}
"""Nothing is sent anywhere unless the user has said otherwise."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code; a bug of ours leaves with its traceback."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with terminable():
            code = cli.main(arguments, prog_name="orchestrator", standalone_mode=False)
    except click.Abort as abort:
        terminated = isinstance(abort.__cause__, Terminated)
        return _complain("interrupted", exit_code=143 if terminated else 130)
    except click.NoSuchOption as error:
        return _complain(_no_such_option(error), exit_code=error.exit_code)
    except click.ClickException as error:
        return _complain(error.format_message(), exit_code=error.exit_code)
    except OrchestratorError as error:
        return _complain(str(error), exit_code=error.exit_code)
    except TrainerError as error:
        return _complain(str(error), exit_code=_exit_code(error))
    except OSError as error:
        if not is_disk_full(error):
            raise
        return _complain(f"{error.filename or 'a file'}: {error.strerror}", exit_code=4)
    return code if isinstance(code, int) else 0


def _no_such_option(error: click.NoSuchOption) -> str:
    """What was asked for may be a setting that has no option of its own."""
    from orchestrator.reporting.continuing import CONFIGS

    command = error.ctx.command.name if error.ctx else None
    config, name = CONFIGS.get(command or ""), error.option_name.lstrip("-").replace("-", "_")
    if config is None or name not in {field.name for field in fields(config)}:
        return error.format_message()
    return f"No such option '{error.option_name}'; use --set {name}=…"


def _exit_code(error: TrainerError) -> int:
    match error:
        case ConfigError() | DatasetError():
            return 2
        case DiskFull():
            return 4
    return 3


def _complain(message: str, *, exit_code: int) -> int:
    """Print an error on one line, with whatever would disturb a terminal shown as an escape."""
    line = " ".join(message.split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    if sys.stderr is not None:
        try:
            print(f"error: {shown}", file=sys.stderr, flush=True)
        except OSError:
            return exit_code  # nobody is left to be told
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
