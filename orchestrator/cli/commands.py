"""The command line: parse, call one function, print. Imports stay inside the commands."""

from __future__ import annotations

import click

from orchestrator.cli.groups import Commands
from orchestrator.cli.models import export, predict
from orchestrator.cli.policy import policy
from orchestrator.cli.stages import STAGES

SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(cls=Commands, context_settings=SETTINGS)
@click.version_option(package_name="orchestrator")
def cli() -> None:
    """Search and scale image classifiers: published recipes, your data, your budget."""


for stage in STAGES:
    cli.add_command(stage)


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
    from orchestrator.reporting.formats import counted
    from orchestrator.reporting.screen import show, show_json

    summary = api.mlflow_sync(run_dir, tracking_uri=tracking_uri)
    if as_json:
        show_json(asdict(summary))
    else:
        sent = f"{summary.uri}: {summary.runs} runs, {summary.points} new metric values"
        models = f", {counted(summary.models, 'new model')}" if summary.models else ""
        show((sent + models, *summary.refused))


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
@click.argument("run_a", metavar="RUN_A")
@click.argument("run_b", metavar="RUN_B")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def compare(*, run_a: str, run_b: str, as_json: bool) -> None:
    """Put the results of two runs of one command side by side.

    Differences are B less A, paired over the seeds that both have, on the same images.
    """
    from orchestrator import api
    from orchestrator.comparison.tables import compare_lines
    from orchestrator.reporting.screen import show, show_json

    document = api.compare(run_a, run_b)
    if as_json:
        show_json(document)
    else:
        show(compare_lines(document))


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


cli.add_command(export)
cli.add_command(predict)
cli.add_command(policy)
