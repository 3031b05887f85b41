"""The command line: parse, call one function, print. Imports stay inside the commands."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.groups import Commands
from orchestrator.cli.options import OPTIONS, accepts, given, runs
from orchestrator.cli.policy import policy

if TYPE_CHECKING:
    from orchestrator.config import CommonConfig


SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=Commands, context_settings=SETTINGS)
@click.version_option(package_name="orchestrator")
def cli() -> None:
    """Search and scale image classifiers: published recipes, your data, your budget."""


@cli.command("search-scaling")
@accepts(OPTIONS["search-scaling"])
@runs
def search_scaling(
    *, file: str | None, sets: tuple[str, ...], dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Find α, β, γ under a budget.

    They say how depth, width and resolution grow together (EfficientNet's compound scaling).
    """
    from orchestrator import api
    from orchestrator.config import SearchScalingConfig
    from orchestrator.loading import load
    from orchestrator.reporting.live import watcher_on
    from orchestrator.reporting.screen import show, show_json
    from orchestrator.reporting.tables import next_lines, scaling_lines

    config = load(SearchScalingConfig, file=file, options=given(options), sets=sets)
    config = config.with_(run_dir=config.placed("search-scaling"))
    with resumable(config), closing(watcher_on(sys.stderr)) as watcher:
        result = api.search_scaling(config, dry_run=dry_run, watcher=watcher)
    document = result.to_json()
    if as_json:
        show_json(document)
    else:
        show((*scaling_lines(document), *next_lines(result.run_dir)))


@cli.command("search-augment")
@accepts(OPTIONS["search-augment"])
@runs
def search_augment(
    *, file: str | None, sets: tuple[str, ...], dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Find an augmentation policy, and whether it is worth anything.

    AutoAugment and its cheaper heirs; what was found is compared with random policies that were
    searched at the same cost, with TrivialAugment and with none.
    """
    from orchestrator import api
    from orchestrator.config import SearchAugmentConfig
    from orchestrator.loading import load
    from orchestrator.reporting.augment_tables import augment_lines, policy_next_lines
    from orchestrator.reporting.live import watcher_on
    from orchestrator.reporting.screen import show, show_json

    config = load(SearchAugmentConfig, file=file, options=given(options), sets=sets)
    config = config.with_(run_dir=config.placed("search-augment"))
    with resumable(config), closing(watcher_on(sys.stderr)) as watcher:
        result = api.search_augment(config, dry_run=dry_run, watcher=watcher)
    document = result.to_json()
    if as_json:
        show_json(document)
    else:
        show((*augment_lines(document), *policy_next_lines(result.run_dir, document)))


@cli.command()
@accepts(OPTIONS["scale"])
@runs
def scale(
    *, file: str | None, sets: tuple[str, ...], dry_run: bool, as_json: bool, **options: Any
) -> None:
    """Train the family that α, β, γ give, and see what scaling is worth.

    Sizes B1, B2, … follow from a search's result or from given coefficients; beside them, depth,
    width or resolution grown alone to the same cost. The published sizes are a table of their own.
    """
    from orchestrator import api
    from orchestrator.config import ScaleConfig
    from orchestrator.loading import load
    from orchestrator.reporting.live import watcher_on
    from orchestrator.reporting.scale_tables import scale_lines
    from orchestrator.reporting.screen import show, show_json
    from orchestrator.reporting.tables import next_lines

    config = load(ScaleConfig, file=file, options=given(options), sets=sets)
    config = config.with_(run_dir=config.placed("scale"))
    with resumable(config), closing(watcher_on(sys.stderr)) as watcher:
        result = api.scale(config, dry_run=dry_run, watcher=watcher)
    document = result.to_json()
    if as_json:
        show_json(document)
    else:
        show((*scale_lines(document), *next_lines(result.run_dir)))


@cli.command()
@click.option("--run-dir", metavar="DIR", required=True, help="The run to look at.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def status(*, run_dir: str, as_json: bool) -> None:
    """Say where a run stands; it may be under way."""
    from orchestrator import api
    from orchestrator.reporting.screen import show, show_json
    from orchestrator.reporting.tables import status_lines

    document = api.status(run_dir)
    if as_json:
        show_json(document)
    else:
        show(status_lines(document))


@cli.command("mlflow-sync")
@click.option("--run-dir", metavar="DIR", required=True, help="The run to copy.")
@click.option("--tracking-uri", metavar="URI", help="Where to. [default: as the run has it]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def mlflow_sync(*, run_dir: str, tracking_uri: str | None, as_json: bool) -> None:
    """Copy what MLflow lacks of a run."""
    from dataclasses import asdict

    from orchestrator import api
    from orchestrator.reporting.screen import show, show_json

    summary = api.mlflow_sync(run_dir, tracking_uri=tracking_uri)
    if as_json:
        show_json(asdict(summary))
    else:
        sent = f"{summary.uri}: {summary.runs} runs, {summary.points} new metric values"
        show((sent, *summary.refused))


@cli.command()
@click.option("--run-dir", metavar="DIR", help="Whose database. [default: that of runs/]")
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
def ui(*, run_dir: str | None, port: int) -> int:
    """Show MLflow's pages on this machine."""
    from orchestrator import api

    return api.ui(run_dir, port=port)


@cli.command()
@click.option("--run-dir", metavar="DIR", required=True, help="The run to report.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def report(*, run_dir: str, as_json: bool) -> None:
    """Write a run's report.md and figures anew; it may be under way."""
    from orchestrator import api
    from orchestrator.reporting.screen import show, show_json

    path = str(api.report(run_dir))
    if as_json:
        show_json({"report": path})
    else:
        show((path,))


@cli.command()
@click.argument("source")
@click.option("--to", metavar="optuna|csv", required=True, help="A study's database, or a table.")
@click.option("--output", metavar="FILE", required=True, help="A file that does not exist yet.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def export(*, source: str, to: str, output: str, as_json: bool) -> None:
    """Copy the trials of the run in SOURCE into a file for other tools."""
    from orchestrator import api
    from orchestrator.reporting.formats import counted
    from orchestrator.reporting.screen import show, show_json

    trials = api.export(source, to=to, output=output)
    if as_json:
        show_json({"output": output, "to": to, "trials": trials})
    else:
        show((f"{output}: {counted(trials, 'trial')}",))


@cli.command()
@click.option("--dataset", metavar="NAME|DIR", help="Read this data set too.")
@click.option("--run-dir", metavar="DIR", help="Where a run would go. [default: below runs/]")
@click.option("--ray-address", metavar="ADDRESS", help="A cluster that a run would join.")
@click.option("--tracking-uri", metavar="URI", help="MLflow's store. [default: beside the run]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def doctor(*, as_json: bool, **options: str | None) -> int:
    """Look for what is in the way of a run, and say how to mend it; exit code 4 if anything is."""
    from orchestrator import api
    from orchestrator.doctor import diagnosis_lines
    from orchestrator.errors import NotReady
    from orchestrator.reporting.screen import show, show_json

    diagnosis = api.doctor(**{name: text for name, text in options.items() if text is not None})
    if as_json:
        show_json(diagnosis.to_json())
    else:
        show(diagnosis_lines(diagnosis))
    return 0 if diagnosis.ready else NotReady.exit_code


cli.add_command(policy)


@contextmanager
def resumable(config: CommonConfig) -> Iterator[None]:
    """Say, after an interrupt, how the run is gone on with."""
    from orchestrator.errors import Interrupted
    from orchestrator.interrupts import Terminated
    from orchestrator.run_dir import RunDir

    try:
        yield
    except (Interrupted, KeyboardInterrupt) as error:
        number = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
        if isinstance(error, Interrupted):
            number = signal.Signals(error.exit_code - 128)
        assert config.run_dir is not None
        begun = RunDir(Path(config.run_dir)).journal.exists()
        how = f"go on with the same command and --run-dir {config.run_dir}"
        message = f"interrupted; {how if begun else 'nothing was begun'}"
        raise Interrupted(message, signal_number=number) from error
